// drover move: moves the memory of one process.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>

#include "cli/command.h"
#include "cli/forecast.h"
#include "cli/kernel_mover.h"
#include "cli/records.h"
#include "cli/shared_part.h"
#include "cli/sizes.h"
#include "cli/target_checks.h"
#include "cli/warnings.h"
#include "cli/witness.h"
#include "control/client.h"
#include "kernel/linux_kernel.h"
#include "library/engines.h"
#include "library/helper_cpus.h"
#include "library/result.h"
#include "report/move_report.h"
#include "report/pages.h"
#include "report/plan_report.h"
#include "report/progress.h"
#include "report/words.h"

namespace drover::cli {
namespace {

struct MoveOptions {
  int pid = 0;
  std::string to, from, range, batch = "2m", max_stall = "none", migrator = "serial",
                               mode = "sync_light", reason = "syscall";
  double retry_for_s = 1;
  bool over_budget = false, json = false, dry_run = false, verify = false, shared = false,
       unshare = false;
};

std::atomic<bool> interrupted = false;

// The first Ctrl-C stops at a batch boundary; the second ends drover, and the agent stops by
// itself.
void StopOnInterrupt() {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// A name that is no built-in engine's may be a plugin's that the program was started with.
std::expected<void, Error> ParseEnginesOf(const MoveOptions& options, flow::Job* job) {
  auto parsed = library::ParseEngines(options.migrator, {}, job);
  if (parsed.has_value()) return parsed;
  const auto process = control::CheckTarget(options.pid);
  if (!process.has_value()) return parsed;
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value() || !marker->has_value()) return parsed;
  return library::ParseEngines(options.migrator, (*marker)->plugins, job);
}

std::expected<flow::Job, Error> JobOf(const MoveOptions& options, const topology::Nodes& nodes) {
  flow::Job job;
  const auto placement = PlacementOf(options.to, options.from, nodes);
  if (!placement.has_value()) return std::unexpected(placement.error());
  job.placement = *placement;
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
  job.plan_only = options.dry_run;
  job.verify = options.verify;
  job.unshare = options.unshare;
  job.mode = options.mode == "async"  ? flow::Mode::kAsync
             : options.mode == "sync" ? flow::Mode::kSync
                                      : flow::Mode::kSyncLight;
  if (const auto set = library::SetRetryFor(options.retry_for_s, &job); !set.has_value())
    return std::unexpected(set.error());
  if (options.shared)
    if (const auto able = CheckShared(job.placement); !able.has_value())
      return std::unexpected(able.error());
  if (const auto parsed = ParseEnginesOf(options, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto parsed = library::ParseReason(options.reason, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto checked = library::CheckEngines(job); !checked.has_value())
    return std::unexpected(checked.error());
  if (!options.range.empty()) {
    const auto ranges = ParseRanges(options.range);
    if (!ranges.has_value()) return std::unexpected(ranges.error());
    job.range_count = static_cast<uint32_t>(ranges->size());
    std::copy(ranges->begin(), ranges->end(), job.ranges);
  }
  return job;
}

using ShowProgress = std::function<void(const control::Progress&)>;

// By the agent where there is one that serves, else from outside.
std::expected<flow::JobResult, Error> Perform(const control::ProcessInfo& process,
                                              const flow::Job& job, int records,
                                              const ShowProgress& progress) {
  flow::JobResult preset;
  const auto marker = control::FindServingMarker(process);
  if (!marker.has_value()) return std::unexpected(marker.error());
  preset.own_path_trouble = flow::Trouble::kNoAgent;
  if (marker->has_value()) {
    const auto state = static_cast<control::Marker::State>((*marker)->state);
    if (state == control::Marker::State::kServing) {
      auto client = control::Client::Connect({process, **marker});
      if (!client.has_value()) return std::unexpected(client.error());
      if (client->hello().has_userfault == 0 && client->hello().trouble == 0 && geteuid() == 0)
        client->GrantRights();
      return client->Move(job, records, interrupted, progress);
    }
    preset.own_path_trouble = state == control::Marker::State::kPassive
                                  ? static_cast<flow::Trouble>((*marker)->trouble)
                                  : flow::Trouble::kAgentEnded;
    preset.own_path_detail = (*marker)->trouble_detail;
  }
  if (job.unshare)  // no other process can make a page of its own for it
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("--unshare takes an agent in process {} that serves: {}", process.pid,
                          report::WordsOf(preset.own_path_trouble, preset.own_path_detail))});
  return MoveFromOutside(process, job, preset, records, interrupted, progress);
}

// With --shared in two halves.
std::expected<flow::JobResult, Error> PerformAll(const control::ProcessInfo& process,
                                                 const flow::Job& job, bool shared, int records,
                                                 const ShowProgress& progress) {
  flow::Job first = job;
  if (shared) first.mode = flow::Mode::kAsync;  // what is busy is asked for again by the second
  auto result = Perform(process, first, records, progress);
  if (!result.has_value() || !shared) return result;
  return MoveShared(process, job, *result, records, interrupted, progress);
}

// The job as one, by what it asks for.
flow::Job Whole(flow::Job job, const MoveOptions& options) {
  job.shared = options.shared;
  return job;
}

int ExitCodeOf(const flow::JobResult& result) {
  switch (result.ended_by) {
    case flow::Trouble::kNone:
      break;
    case flow::Trouble::kCancelled:
      return kExitInterrupted;
    case flow::Trouble::kTargetVanished:
      return kExitTargetGone;
    default:
      return kExitFailed;
  }
  return result.pages_not_moved > 0 ? kExitNotAllMoved : kExitDone;
}

// The plan: pages by path, time and window, and the memory that it takes.
int ShowPlan(const MoveOptions& options, const flow::Job& job, const flow::JobResult& plan) {
  if (plan.ended_by != flow::Trouble::kNone) {
    fmt::print(stderr, "drover: {}\n", report::WordsOf(plan.ended_by, plan.ended_detail));
    return ExitCodeOf(plan);
  }
  const Forecast forecast = Predict(job, options.migrator, plan);
  report::Plan shown{.result = library::ResultOf(plan, job),
                     .seconds = forecast.seconds,
                     .window_us = forecast.window_us,
                     .unknown = forecast.unknown,
                     .idle_cpus = forecast.idle_cpus,
                     .needs = {},
                     .pool_bytes = 2 * job.batch_bytes};
  for (const auto& [node, need] : MemoryNeeded(options.pid, Whole(job, options)))
    shown.needs.push_back({node, need.bytes_to_come, need.bytes_free});
  if (options.json) {
    auto document = JsonHead("move");
    document["pid"] = options.pid;
    document["dry_run"] = true;
    document.update(report::PlanToJson(shown));
    PrintJson(document);
  } else {
    fmt::print("{}", report::PlanToTable(shown));
  }
  return ExitCodeOf(plan);
}

int Move(const MoveOptions& options) {
  // From the first moment on: on a busy machine a look at a large process takes its time, too.
  StopOnInterrupt();
  const auto nodes = topology::ReadNodes("/");
  auto job = JobOf(options, nodes);
  if (!job.has_value()) return Fail(job.error());
  const auto process = control::CheckTarget(options.pid);
  if (!process.has_value()) return Fail(process.error());
  if (const auto fits = CheckRangesAndMemory(options.pid, Whole(*job, options), nodes);
      !fits.has_value())
    return Fail(fits.error());
  for (const std::string& warning : WarningsFor("/", options.pid, job->placement))
    fmt::print(stderr, "drover: {}\n", warning);
  if (!options.dry_run) {
    library::HelperCpus().Place(&*job, options.pid);
    const uint32_t wanted = migrators::HelpersOf(job->Engines());
    if (job->helper_count < wanted)
      fmt::print(stderr, "drover: {} of {} copy threads have a CPU: no more are idle\n",
                 job->helper_count + 1, wanted + 1);
  }
  const int records = memfd_create("drover-records", MFD_CLOEXEC);
  const Witness witness(options.pid, Whole(*job, options), !options.dry_run);
  std::expected<flow::JobResult, Error> result;
  {
    report::ProgressLine line;
    result = PerformAll(*process, *job, options.shared, records, [&](const control::Progress& now) {
      line.Show(now.pages_done, now.pages_estimated);
    });
  }
  if (!result.has_value()) return Fail(result.error());
  if (options.dry_run) return ShowPlan(options, *job, *result);
  if (options.unshare && result->own_path_trouble != flow::Trouble::kNone)
    fmt::print(stderr, "drover: --unshare goes with the own path alone, which was not taken\n");
  const Records fates(records, options.pid, result->pages_requested);
  if (const uint64_t merged = CountMerged(options.pid, fates); merged > 0) {
    constexpr auto kShared = static_cast<size_t>(flow::Why::kShared);
    result->not_moved_why[kShared] -= std::min(merged, result->not_moved_why[kShared]);
    result->not_moved_why[static_cast<size_t>(flow::Why::kMerged)] += merged;
  }
  const report::Seen seen{witness.ShareSeenToMove(fates),
                          CountMovedBack(options.pid, job->placement, fates)};
  const MoveResult shown = library::ResultOf(*result, *job);
  if (options.json) {
    auto document = JsonHead("move");
    document["pid"] = options.pid;
    document.update(report::MoveToJson(shown, seen));
    PrintJson(document);
  } else {
    fmt::print("{}", report::MoveToTable(shown, seen));
  }
  if (result->ended_by != flow::Trouble::kNone)
    fmt::print(stderr, "drover: {}\n", report::WordsOf(result->ended_by, result->ended_detail));
  if (shown.verified.has_value() && shown.verified->conflicts + shown.verified->gone > 0) {
    fmt::print(stderr,
               "drover: a driver has written to {} after the copy, and the program has changed, "
               "freed or moved them since: what was written is lost. Find what writes there before "
               "this program is moved again\n",
               report::Pages(shown.verified->conflicts + shown.verified->gone));
    return kExitFailed;
  }
  return ExitCodeOf(*result);
}

}  // namespace

void AddMove(CLI::App& app, Chosen& chosen) {
  auto* move = app.add_subcommand("move", "move the memory of a process while it runs");
  auto options = std::make_shared<MoveOptions>();
  move->add_option("PID", options->pid, "the process")->required()->check(CLI::PositiveNumber);
  move->add_option("--to", options->to,
                   "target nodes: 1, 0,2-3, all, !0 (all but 0); with several, in proportion to "
                   "free memory. `same`: fresh pages on the node where each page is (unlike "
                   "numactl's word); needs the agent")
      ->required();
  move->add_option("--from", options->from,
                   "only pages on these nodes; with as many --to nodes, position by position");
  move->add_option("--range", options->range,
                   "only these addresses: start-end or start+size, separated by commas. In a named "
                   "range file and shared pages are asked for as well");
  move->add_option("--batch", options->batch,
                   "pages that are absent at once: a number of 4 KiB pages, or 64k, 2m, up to 16m")
      ->capture_default_str();
  move->add_option("--max-stall", options->max_stall,
                   "how long the program may wait for a page at most, while a CPU is free for the "
                   "engine: 200us, 2ms, none; batches are made so small. Huge pages that take "
                   "longer stay, and the report says what would do")
      ->capture_default_str();
  move->add_flag("--over-budget", options->over_budget,
                 "with --max-stall: move those huge pages all the same");
  move->add_option(
          "--migrator", options->migrator,
          "copy engines that share each batch, separated by commas: serial; auto: what `drover "
          "tune` "
          "has found to be best, by size and reason; threads:N (up to 16): "
          "N threads, of which all but one run on idle CPUs only, fewer where fewer are idle; "
          "channels:N (up to 8): a DMA engine in software; for tests null (with --verify), and "
          "fault:KIND[:over=ENGINE]: fail, fail-all, refuse, late, hang, or with --verify lie, "
          "short, flip")
      ->capture_default_str();
  move->add_option(
          "--reason", options->reason,
          "a label for the move, by which copy engines can be chosen: " + library::ReasonNames())
      ->capture_default_str();
  move->add_flag("--dry-run", options->dry_run,
                 "touch nothing: say which pages would move by which path, how long it would take "
                 "(tried out on memory of drover's own), and what would stay and why");
  move->add_flag("--verify", options->verify,
                 "compare each copy with its original before the program sees it, and look for "
                 "writes that a driver makes to originals up to 100 ms later; what is found is "
                 "named, and carried over where that is safe. Slower, and longer stalls")
      ->excludes("--dry-run");
  move->add_flag(
      "--shared", options->shared,
      "also what the process does not have alone: pages of files, shared memory, and what "
      "other processes map as well. It moves for all of them, by the kernel path; needs "
      "CAP_SYS_NICE");
  move->add_flag(
      "--unshare", options->unshare,
      "give pages that are shared with a child or parent after a fork copies of their own, and "
      "move those. Costs the memory that sharing saved, and splits shared huge pages; needs the "
      "agent");
  move->add_option("--mode", options->mode,
                   "pages that are busy for a moment: async does not try them again, "
                   "sync_light three times within 7 ms, sync up to seven times within "
                   "--retry-for. No page is kept away for it")
      ->check(CLI::IsMember({"async", "sync_light", "sync"}))
      ->capture_default_str();
  move->add_option("--retry-for", options->retry_for_s,
                   "how long --mode sync goes on trying: 500ms, 2s, 1m; a plain number is seconds")
      ->transform(
          CLI::AsNumberWithUnit(std::map<std::string, double>{{"ms", 0.001}, {"s", 1}, {"m", 60}}))
      ->option_text("TIME [1s]");
  move->add_flag("--json", options->json, "one JSON document on stdout");
  move->footer(
      "Without --range the process's private memory is moved: heap, stacks, anonymous mappings,\n"
      "and what it has written of private file mappings; with --shared all else as well.\n"
      "Example: drover move 4711 --to 1");
  move->callback([=, &chosen] {
    if (move->count("--retry-for") > 0 && options->mode != "sync")
      throw CLI::ValidationError("--retry-for", "only --mode sync goes on for a time; add it");
    chosen.run = [=] { return Move(*options); };
  });
}

}  // namespace drover::cli
