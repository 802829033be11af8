#include "cli/move_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/exchange.h"
#include "cli/shared_part.h"
#include "cli/sizes.h"
#include "control/agents.h"
#include "library/engines.h"
#include "library/result.h"
#include "report/words.h"

namespace drover::cli {
namespace {

// A name that is no built-in engine's may be a plugin's that the program was started with.
std::expected<void, Error> ParseEnginesOf(const MoveOptions& options, int pid, flow::Job* job) {
  auto parsed = library::ParseEngines(options.migrator, {}, job);
  if (parsed.has_value()) return parsed;
  const auto process = control::CheckTarget(pid);
  if (!process.has_value()) return parsed;
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value() || !marker->has_value()) return parsed;
  return library::ParseEngines(options.migrator, (*marker)->plugins, job);
}

// Where to, and of what.
std::expected<void, Error> Place(const MoveOptions& options, int pid, const topology::Nodes& nodes,
                                 flow::Job* job) {
  if (options.command == "exchange") return PlaceExchange(options, pid, nodes, job);
  const auto placement = PlacementOf(options.to, options.from, nodes);
  if (!placement.has_value()) return std::unexpected(placement.error());
  job->placement = *placement;
  if (options.range.empty()) return {};
  const auto ranges = ParseRanges(options.range);
  if (!ranges.has_value()) return std::unexpected(ranges.error());
  job->range_count = static_cast<uint32_t>(ranges->size());
  std::copy(ranges->begin(), ranges->end(), job->ranges);
  return {};
}

// --rate, --cpu and --for.
std::expected<void, Error> SetBounds(const MoveOptions& options, flow::Job* job) {
  const auto rate = ParseRate(options.rate);
  if (!rate.has_value()) return std::unexpected(rate.error());
  const auto cpu = ParsePercent(options.cpu);
  if (!cpu.has_value()) return std::unexpected(cpu.error());
  const auto seconds = ParseDuration(options.time);
  if (!seconds.has_value()) return std::unexpected(seconds.error());
  job->rate_bytes_per_s = *rate;
  job->cpu_percent = *cpu;
  job->time_ns = static_cast<uint64_t>(*seconds * 1e9);
  return {};
}

// How: what each command that moves pages takes.
void AddHow(CLI::App& command, MoveOptions& options) {
  command
      .add_option("--batch", options.batch,
                  "pages that are absent at once: a number of 4 KiB pages, or 64k, 2m, up to 16m")
      ->capture_default_str();
  command
      .add_option("--max-stall", options.max_stall,
                  "how long the program may wait for a page at most, while a CPU is free for the "
                  "engine: 200us, 2ms, none; batches are made so small. Huge pages that take "
                  "longer stay, and the report says what would do")
      ->capture_default_str();
  command.add_flag("--over-budget", options.over_budget,
                   "with --max-stall: move those huge pages all the same");
  AddPrecopyFlag(command, options.precopy);
  command
      .add_option("--rate", options.rate,
                  "move at most so much a second: 500M/s; with several processes, in all")
      ->capture_default_str();
  command
      .add_option("--cpu", options.cpu,
                  "let the engine's thread use at most this share of one CPU: 50%. (Copy threads "
                  "run where a CPU is idle, and do not count)")
      ->capture_default_str();
  command
      .add_option("--for", options.time,
                  "begin no more batches after this time: 90s, 10m, 2h. What has not had its turn "
                  "is `not moved`, and another move goes on there")
      ->capture_default_str();
  command
      .add_option(
          "--migrator", options.migrator,
          "copy engines that share each batch, separated by commas: serial; auto: what `drover "
          "tune` "
          "has found to be best, by size and reason; threads:N (up to 16): "
          "N threads, of which all but one run on idle CPUs only, fewer where fewer are idle, and "
          "none for batches that are found to be faster without (threads:N:always: for all); "
          "channels:N (up to 8): a DMA engine in software; for tests null (with --verify), and "
          "fault:KIND[:over=ENGINE]: fail, fail-all, refuse, late, hang, or with --verify lie, "
          "short, flip")
      ->capture_default_str();
  command
      .add_option(
          "--reason", options.reason,
          "a label for the move, by which copy engines can be chosen: " + library::ReasonNames())
      ->capture_default_str();
  command.add_flag(
      "--dry-run", options.dry_run,
      "touch nothing: say which pages would move by which path, how long it would take "
      "(tried out on memory of drover's own), and what would stay and why");
  command
      .add_option(
          "--copy-through", options.copy_through,
          "how small pages are copied. program: through the mapping that the program has; "
          "kernel: through the kernel's own, by process_vm_readv(2), for machines where a "
          "CPU's first touch of a page is dear, such as guests without nested paging, and "
          "not below a seccomp filter. fill, kernel-fill: the same by UFFDIO_COPY, to pages "
          "that need not be there, nor be zeroed, before. auto tries which is fastest")
      ->check(CLI::IsMember(report::CopyThroughNames()))
      ->capture_default_str();
  command
      .add_option("--mode", options.mode,
                  "pages that are busy for a moment: async does not try them again, "
                  "sync_light three times within 7 ms, sync up to seven times within "
                  "--retry-for. No page is kept away for it")
      ->check(CLI::IsMember({"async", "sync_light", "sync"}))
      ->capture_default_str();
  command
      .add_option("--retry-for", options.retry_for_s,
                  "how long --mode sync goes on trying: 500ms, 2s, 1m; a plain number is seconds")
      ->transform(
          CLI::AsNumberWithUnit(std::map<std::string, double>{{"ms", 0.001}, {"s", 1}, {"m", 60}}))
      ->option_text("TIME [1s]");
  command.add_flag("--detach", options.detach,
                   "go on in the background, and say the job's number: `drover jobs` shows how it "
                   "stands, and its report when it has ended");
  command.add_flag("--json", options.json, "one JSON document on stdout");
}

}  // namespace

std::expected<flow::Job, Error> JobOf(const MoveOptions& options, int pid,
                                      const topology::Nodes& nodes) {
  flow::Job job;
  if (const auto placed = Place(options, pid, nodes, &job); !placed.has_value())
    return std::unexpected(placed.error());
  const auto batch = ParseSize(options.batch, kPageBytes);
  if (!batch.has_value()) return std::unexpected(batch.error());
  if (const auto checked = library::CheckBatch(*batch); !checked.has_value())
    return std::unexpected(checked.error());
  job.batch_bytes = *batch;
  const auto max_stall_us = ParseStall(options.max_stall);
  if (!max_stall_us.has_value()) return std::unexpected(max_stall_us.error());
  if (const auto set = library::SetMaxStall(*max_stall_us, &job); !set.has_value())
    return std::unexpected(set.error());
  if (options.over_budget && job.max_stall_ns == 0)
    return std::unexpected(
        Error{Error::Kind::kUsage, "--over-budget goes with --max-stall: without it nothing is"});
  job.over_budget = options.over_budget;
  job.precopy = static_cast<flow::Precopy>(options.precopy.value());
  if (const auto set = SetBounds(options, &job); !set.has_value())
    return std::unexpected(set.error());
  job.plan_only = options.dry_run;
  job.verify = options.verify;
  job.unshare = options.unshare;
  job.reuse = options.reuse || job.exchange.on;
  if (options.reuse && !job.placement.same)
    return std::unexpected(
        Error{Error::Kind::kUsage,
              "--reuse goes with --to same: what is left on one node is no target on another"});
  job.page_size = options.page_size == "huge"   ? flow::PageSize::kHuge
                  : options.page_size == "auto" ? flow::PageSize::kAuto
                                                : flow::PageSize::kKeep;
  job.copy_through = report::CopyThroughOf(options.copy_through);
  job.mode = options.mode == "async"  ? flow::Mode::kAsync
             : options.mode == "sync" ? flow::Mode::kSync
                                      : flow::Mode::kSyncLight;
  if (const auto set = library::SetRetryFor(options.retry_for_s, &job); !set.has_value())
    return std::unexpected(set.error());
  if (options.shared)
    if (const auto able = CheckShared(job.placement); !able.has_value())
      return std::unexpected(able.error());
  if (const auto parsed = ParseEnginesOf(options, pid, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto parsed = library::ParseReason(options.reason, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto checked = library::CheckEngines(job); !checked.has_value())
    return std::unexpected(checked.error());
  return job;
}

// The job as one, by what it asks for.
flow::Job Whole(flow::Job job, const MoveOptions& options) {
  job.shared = options.shared;
  return job;
}

void AddMoveOptions(CLI::App& move, MoveOptions& options) {
  move.add_option("PID", options.pids, "the processes")->check(CLI::PositiveNumber);
  move.add_option("--tree", options.tree,
                  "this process and all that descend from it, also those "
                  "that come meanwhile")
      ->check(CLI::PositiveNumber);
  move.add_option(
      "--cgroup", options.cgroup,
      "all processes of a control group and those below it: /system.slice/redis.service "
      "or its folder");
  move.add_option("--to", options.to,
                  "target nodes: 1, 0,2-3, all, !0 (all but 0); with several, in proportion to "
                  "free memory. `same`: fresh pages on the node where each page is (unlike "
                  "numactl's word); needs the agent")
      ->required();
  move.add_option("--from", options.from,
                  "only pages on these nodes; with as many --to nodes, position by position");
  move.add_option("--range", options.range,
                  "only these addresses: start-end or start+size, separated by commas. In a named "
                  "range file and shared pages are asked for as well");
  AddHow(move, options);
  move.add_flag("--verify", options.verify,
                "compare each copy with its original before the program sees it, and look for "
                "writes that a driver makes to originals up to 100 ms later; what is found is "
                "named, and carried over where that is safe. Slower, and longer stalls")
      ->excludes("--dry-run");
  move.add_flag(
      "--shared", options.shared,
      "also what the process does not have alone: pages of files, shared memory, and what "
      "other processes map as well. It moves for all of them, by the kernel path; needs "
      "CAP_SYS_NICE");
  move.add_flag(
      "--unshare", options.unshare,
      "give pages that are shared with a child or parent after a fork copies of their own, and "
      "move those. Costs the memory that sharing saved, and splits shared huge pages; needs the "
      "agent");
  move.add_flag(
          "--reuse", options.reuse,
          "with --to same: the pages that one batch leaves are the targets of the next. Faster, "
          "and "
          "for programs whose memory the kernel does not use behind their backs: what is still "
          "sent "
          "by MSG_ZEROCOPY or vmsplice, or written by a driver that is late, would then read or "
          "overwrite what has its place there by now")
      ->excludes("--verify");
  move.add_option("--page-size", options.page_size,
                  "keep; or behind the move (with --to same: in its place) make huge pages of "
                  "small ones, where all of a 2 MiB "
                  "slot is there: huge, or auto, only where the system's policy for that memory "
                  "wants them. The kernel does it (MADV_COLLAPSE), a millisecond or so for each, "
                  "in which the program may wait: see --max-stall. Huge pages are never split")
      ->check(CLI::IsMember({"keep", "auto", "huge"}))
      ->capture_default_str();
}

void AddExchangeOptions(CLI::App& exchange, MoveOptions& options) {
  options.command = "exchange";
  exchange.add_option("PID", options.pids, "the process")
      ->required()
      ->expected(1)
      ->check(CLI::PositiveNumber);
  exchange
      .add_option("--range", options.range,
                  "the one side: start-end or start+size, several separated by commas")
      ->required();
  exchange.add_option("--with", options.with, "the other side, in the same way")->required();
  AddHow(exchange, options);
}

void CheckHow(const CLI::App& command, const MoveOptions& options) {
  if (command.count("--retry-for") > 0 && options.mode != "sync")
    throw CLI::ValidationError("--retry-for", "only --mode sync goes on for a time; add it");
}

}  // namespace drover::cli
