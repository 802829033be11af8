#include "library/result.h"

#include <fmt/format.h>

#include <algorithm>

#include "library/engines.h"
#include "report/gathered.h"
#include "report/pages.h"
#include "report/words.h"

namespace drover::library {
namespace {

Percentiles PercentilesOf(const flow::Histogram& histogram) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1000; };
  return {histogram.count,
          us(histogram.PerMille(500)),
          us(histogram.PerMille(990)),
          us(histogram.PerMille(999)),
          us(histogram.max_ns),
          us(histogram.total_ns)};
}

Verified VerifiedOf(const flow::JobResult& job) {
  const auto count = [&](flow::LateFate fate) {
    return job.late_writes[static_cast<uint32_t>(fate)];
  };
  Verified verified{.pages_compared = job.pages_compared,
                    .copied_again = job.copied_again,
                    .carried_over = count(flow::LateFate::kCarriedOver),
                    .conflicts = count(flow::LateFate::kConflict),
                    .gone = count(flow::LateFate::kGone),
                    .late_writes = {}};
  // (The count is another process's word.)
  for (uint32_t i = 0; i < std::min(job.late_named, flow::kLateWritesNamed); ++i)
    verified.late_writes.push_back(
        {job.late[i].address, job.late[i].bytes, static_cast<LateWrite::Fate>(job.late[i].fate)});
  return verified;
}

Gathered GatheredOf(const flow::JobResult& job) {
  const bool any_over = job.slots_small[static_cast<uint32_t>(flow::WhySmall::kOverBudget)] > 0;
  return {.pages = job.pages_gathered,
          .stay_small = report::SmallOf(job.slots_small),
          .smallest_max_stall_us =
              any_over ? static_cast<double>(job.smallest_gather_budget_ns) / 1e3 : 0};
}

const char* NameOf(flow::Phase phase) {
  switch (phase) {
    case flow::Phase::kIsolate:
      return "isolate";
    case flow::Phase::kCopy:
      return "copy";
    case flow::Phase::kVerify:
      return "verify";
    case flow::Phase::kRemap:
      return "remap";
    default:  // (It is another process's word.)
      return "unknown";
  }
}

void AddOtherWaits(const flow::JobResult& job, MoveResult* result) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1000; };
  result->first_touch = PercentilesOf(job.first_touch_waits);
  result->lock_hold = PercentilesOf(job.lock_holds);
  result->gate = {job.gate_waits.count, us(job.gate_waits.total_ns), us(job.gate_waits.max_ns)};
  result->stall_of_reason = PercentilesOf(job.stalls_of_reason);
  for (uint32_t i = 0; i < std::min(job.long_wait_count, flow::kLongWaitsNamed); ++i) {
    const flow::LongWait& wait = job.long_waits[i];
    result->longest_stalls.push_back({wait.address, us(wait.waited_ns), NameOf(wait.phase)});
  }
}

}  // namespace

MoveResult ResultOf(const flow::JobResult& job, const flow::Job& asked) {
  MoveResult result;
  result.pages_requested = job.pages_requested;
  result.pages_moved = job.pages_moved;
  result.pages_already_there = job.pages_already_there;
  result.pages_gone = job.pages_gone;
  result.pages_not_moved = job.pages_not_moved;
  result.pages_by_own_path = job.moved_own_path;
  result.pages_by_kernel_path = job.moved_kernel_path;
  result.pages_unshared = job.pages_unshared;
  result.retry_rounds = job.rounds;
  result.copy_threads = job.copy_threads;
  result.helper_cpu_s = static_cast<double>(job.helper_cpu_ns) / 1e9;
  result.batches_alone = job.batches_alone;
  result.late_chunks = job.late_chunks;
  result.pages_by_cpu = job.pages_by_cpu;
  result.pages_filled_ahead = job.pages_filled_ahead;
  result.pages_reused = job.pages_reused;
  result.pages_precopied = job.pages_precopied;
  result.pages_changed = job.pages_changed;
  result.copied_through = static_cast<CopyThrough>(
      std::min(job.copied_through, flow::CopyThrough::kKernelFill));  // (another process's word)
  result.pages_retargeted = job.pages_retargeted;
  for (const migrators::Spec& spec : asked.Engines()) {
    const flow::EngineTally& tally = job.engines[static_cast<uint32_t>(spec.kind)];
    result.by_migrator.push_back({WordsOf(spec, asked.plugins), tally.pages, tally.batches,
                                  tally.refused, tally.failed, tally.late, tally.fallen_back});
  }
  result.seconds = static_cast<double>(job.wall_ns) / 1e9;
  MoveResult::Phases& phases = result.phases_s;
  double* const seconds[] = {&phases.collect, &phases.prepare, &phases.isolate, &phases.copy,
                             &phases.remap,   &phases.release, &phases.kernel,  &phases.verify,
                             &phases.precopy, &phases.gather};
  static_assert(sizeof seconds / sizeof seconds[0] == flow::kPhaseCount);
  for (uint32_t i = 0; i < flow::kPhaseCount; ++i)
    *seconds[i] = static_cast<double>(job.phase_ns[i]) / 1e9;
  result.stall = PercentilesOf(job.stalls);
  result.window = PercentilesOf(job.windows);
  result.windows_preempted = job.windows_preempted;
  AddOtherWaits(job, &result);
  result.windows_guarded = job.windows_guarded;
  if (asked.max_stall_ns > 0)
    result.stall_budget = {static_cast<double>(asked.max_stall_ns) / 1e3, job.windows_over_budget,
                           job.not_moved_why[static_cast<uint32_t>(flow::Why::kOverBudget)],
                           static_cast<double>(job.smallest_budget_ns) / 1e3};
  result.not_moved = report::CausesOf(job.not_moved_why);
  result.own_path_refused = report::WordsOf(job.own_path_trouble, job.own_path_detail);
  if (asked.verify && !asked.plan_only) result.verified = VerifiedOf(job);
  if (asked.page_size != flow::PageSize::kKeep && !asked.plan_only)
    result.gathered = GatheredOf(job);
  result.cancelled = job.ended_by == flow::Trouble::kCancelled;
  return result;
}

std::expected<void, Error> SetRetryFor(double seconds, flow::Job* job) {
  constexpr double kSecondsMax = static_cast<double>(flow::kRetryForNsMax) / 1e9;
  if (!(seconds >= 0 && seconds <= kSecondsMax))
    return std::unexpected(Error{
        Error::Kind::kUsage,
        fmt::format("retrying for {} s is not possible; use 0 to {} s", seconds, kSecondsMax)});
  job->retry_for_ns = static_cast<uint64_t>(seconds * 1e9);
  return {};
}

std::expected<void, Error> SetMaxStall(double us, flow::Job* job) {
  constexpr double kLeast = static_cast<double>(flow::kMaxStallNsLeast) / 1e3,
                   kMost = static_cast<double>(flow::kMaxStallNsMost) / 1e3;
  if (us != 0 && !(us >= kLeast && us <= kMost))
    return std::unexpected(
        Error{Error::Kind::kUsage,
              fmt::format("a stall of at most {} us cannot be kept; use {} us to {} s, or none", us,
                          kLeast, kMost / 1e6)});
  job->max_stall_ns = static_cast<uint64_t>(us * 1e3);
  return {};
}

std::expected<void, Error> CheckBatch(uint64_t batch_bytes) {
  if (batch_bytes >= kPageBytes && batch_bytes <= flow::kBatchBytesMax &&
      batch_bytes % kPageBytes == 0)
    return {};
  return std::unexpected(
      Error{Error::Kind::kUsage, fmt::format("a batch of {} bytes is not possible; use a multiple "
                                             "of 4096 from 4096 (one page) to 16777216 (16 MiB)",
                                             batch_bytes)});
}

}  // namespace drover::library
