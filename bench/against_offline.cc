#include "against_offline.h"

#include <fmt/format.h>

#include <algorithm>

#include "compaction.h"
#include "floor.h"
#include "kernel/types.h"
#include "migrate.h"
#include "offline.h"

namespace drover::bench {
namespace {

// Of all rounds of a row.
struct OfflineTimes {
  std::vector<double> drover, kernel, inside, ratio, ratio_inside;

  void Add(const Offlined& kernel_side, double drover_s) {
    const double gigabytes = static_cast<double>(kernel_side.pages * kPageBytes) / 1e9;
    drover.push_back(gigabytes / drover_s);
    kernel.push_back(gigabytes / kernel_side.wall_s);
    inside.push_back(gigabytes / kernel_side.inside_s);
    ratio.push_back(kernel_side.wall_s / drover_s);
    ratio_inside.push_back(kernel_side.inside_s / drover_s);
  }
};

// Seconds for so many bytes of the source, from `at` on.
std::expected<double, Error> MoveByDrover(Engine& engine, const Buffers& memory, size_t at,
                                          size_t bytes, const AgainstOfflineOptions& options,
                                          int threads) {
  MoveRequest request;
  request.ranges = {{memory.source + at, bytes}};
  request.batch_bytes = options.batch_bytes;
  request.migrator = MigratorOf(threads);
  const double begin = Now();
  const auto result = engine.Move(request);
  const double seconds = Now() - begin;
  if (!result.has_value()) return std::unexpected(result.error());
  if (result->bytes_moved() != bytes)
    return std::unexpected(
        Error{Error::Kind::kFailed, fmt::format("only {} of {} bytes moved; no figure is given",
                                                result->bytes_moved(), bytes)});
  return seconds;
}

std::expected<AgainstOfflineRow, Error> RunOfflineRow(Engine& engine, const Buffers& memory,
                                                      const std::string& how, int threads,
                                                      const AgainstOfflineOptions& options,
                                                      Restorer& restorer,
                                                      const MigrateTrace& trace) {
  const Confine confine(threads);
  OfflineTimes times;
  size_t at = 0, bytes = 0;
  // (The first one looks for idle CPUs.)
  if (const auto warm = MoveByDrover(engine, memory, 0, kHugeBytes, options, threads);
      !warm.has_value())
    return std::unexpected(warm.error());
  for (int i = 0; i < options.rounds; ++i) {
    const auto kernel_side =
        how == "compaction" ? CompactOnce(memory, trace) : OfflineOne(memory, restorer, trace);
    if (!kernel_side.has_value()) return std::unexpected(kernel_side.error());
    bytes =
        std::min(kernel_side->pages * kPageBytes / kHugeBytes * kHugeBytes, memory.source_bytes);
    if (at + bytes > memory.source_bytes) at = 0;
    const auto drover_s = MoveByDrover(engine, memory, at, bytes, options, threads);
    if (!drover_s.has_value()) return std::unexpected(drover_s.error());
    at += bytes;
    // As many bytes on both sides: what others have in the block the kernel has moved, too.
    times.Add(*kernel_side, *drover_s * static_cast<double>(kernel_side->pages * kPageBytes) /
                                static_cast<double>(bytes));
  }
  return AgainstOfflineRow{.page = memory.huge ? "2M" : "4K",
                           .how = how,
                           .threads = threads,
                           .rounds = options.rounds,
                           .total_bytes = bytes,
                           .gb_per_s = SpreadOf(times.drover),
                           .kernel_gb_per_s = SpreadOf(times.kernel),
                           .kernel_inside_gb_per_s = SpreadOf(times.inside),
                           .ratio = SpreadOf(times.ratio),
                           .ratio_inside = SpreadOf(times.ratio_inside)};
}

}  // namespace

std::expected<AgainstOfflineReport, Error> RunAgainstOffline(const AgainstOfflineOptions& options) {
  Restorer restorer;  // before there are threads
  const auto trace = MigrateTrace::Open(restorer);
  if (!trace.has_value()) return std::unexpected(trace.error());
  auto engine = Engine::Open({});
  if (!engine.has_value()) return std::unexpected(engine.error());
  if (const std::string refused = (*engine)->OwnPathRefused(); !refused.empty())
    return std::unexpected(Error{Error::Kind::kUnavailable, refused});
  AgainstOfflineReport report;
  for (const std::string& page : options.pages) {
    const Buffers memory = MapBuffers(options.total_bytes, kHugeBytes, page == "2M");
    if (memory.source == nullptr || memory.target == nullptr)
      return std::unexpected(Error{Error::Kind::kFailed, "no memory for the benchmark's buffers"});
    for (const std::string& how : options.hows)
      for (const int threads : options.threads) {
        if (how == "compaction" && memory.huge) continue;
        const std::string name = fmt::format("{} pages, {} CPUs, by {}", page, threads, how);
        if (threads > AllowedCpus()) {
          report.skipped.push_back({name, fmt::format("only {} CPUs", AllowedCpus())});
          continue;
        }
        options.progress(name);
        auto row = RunOfflineRow(**engine, memory, how, threads, options, restorer, *trace);
        if (row.has_value())
          report.rows.push_back(std::move(*row));
        else if (row.error().kind == Error::Kind::kUnavailable)
          report.skipped.push_back({name, row.error().message});
        else
          return std::unexpected(row.error());
      }
    UnmapBuffers(memory);
  }
  return report;
}

}  // namespace drover::bench
