#include "flow/job.h"

#include <initializer_list>

#include "flow/rules.h"

namespace drover::flow {

namespace {

// A byte of a message that is neither 0 nor 1 must not be read as a bool.
bool IsFlag(const bool& flag) {
  uint8_t byte;
  __builtin_memcpy(&byte, &flag, sizeof byte);
  return byte <= 1;
}

bool IsWholePages(const Range& range) {
  return !range.empty() && range.start % kPageBytes == 0 && range.length % kPageBytes == 0 &&
         range.end() >= range.start;
}

// What becomes huge behind a move, and what several processes map, is no part of it.
bool IsValidExchange(const Job& job) {
  const Exchange& exchange = job.exchange;
  if (!job.reuse || job.placement.same || job.shared || job.page_size != PageSize::kKeep)
    return false;
  for (const int16_t node : exchange.to)
    if (node < 0 || node >= static_cast<int16_t>(kNodesMax)) return false;
  uint32_t ranges_of[2] = {};
  for (uint32_t i = 0; i < job.range_count && i < kRangesMax; ++i) {
    if (exchange.side_of[i] > 1) return false;
    ++ranges_of[exchange.side_of[i]];
  }
  return exchange.to[0] != exchange.to[1] && ranges_of[0] > 0 && ranges_of[1] > 0;
}

}  // namespace

bool IsValid(const Job& job) {
  for (const bool* flag :
       {&job.placement.same, &job.plan_only, &job.verify, &job.unshare, &job.reuse, &job.shared,
        &job.own_path, &job.kernel_path, &job.expendable, &job.over_budget, &job.exchange.on})
    if (!IsFlag(*flag)) return false;
  // The verifier has the originals, and on another node they are no targets.
  if (job.reuse && (job.verify || (!job.placement.same && !job.exchange.on))) return false;
  if (job.exchange.on && !IsValidExchange(job)) return false;
  if (job.batch_bytes == 0 || job.batch_bytes > kBatchBytesMax ||
      job.batch_bytes % kPageBytes != 0 || job.range_count > kRangesMax ||
      (job.max_stall_ns != 0 &&
       (job.max_stall_ns < kMaxStallNsLeast || job.max_stall_ns > kMaxStallNsMost)) ||
      (job.rate_bytes_per_s != 0 &&
       (job.rate_bytes_per_s < kRateLeast || job.rate_bytes_per_s > kRateMost)) ||
      job.cpu_percent > kCpuPercentMost || job.time_ns > kJobTimeNsMost ||
      job.helper_count >= migrators::kThreadsMax || job.left_out_count > kLeftOutMax ||
      job.precopy > Precopy::kAlways || job.page_size > PageSize::kHuge ||
      job.copy_through > CopyThrough::kKernelFill || job.mode > Mode::kSync ||
      job.retry_for_ns > kRetryForNsMax || job.reason >= Reason::kCount ||
      job.copy_ways.small > migrators::CopyWay::kCount ||
      job.copy_ways.large > migrators::CopyWay::kCount ||
      job.engine_count > migrators::kEnginesPerJobMax)
    return false;
  for (const migrators::Spec& spec : job.Engines())
    if (!IsValid(spec)) return false;
  if (CheckTogether(job.Engines()) != migrators::SpecError::kNone ||
      (RuleHolds(Rule::kNoLiars) && job.TrustsALiar()))
    return false;
  uint64_t at = 0;
  for (uint32_t i = 0; i < job.range_count; ++i) {
    const Range& range = job.ranges[i];
    if (!IsWholePages(range) || range.start < at) return false;
    at = range.end();
  }
  for (uint32_t i = 0; i < job.left_out_count; ++i)
    if (!IsWholePages(job.left_out[i])) return false;
  const Placement& placement = job.placement;
  if (placement.node_count > kNodesMax || placement.spread_count > kNodesMax) return false;
  for (uint32_t i = 0; i < placement.spread_count; ++i)
    if (placement.spread[i] < 0 || placement.spread[i] >= static_cast<int16_t>(kNodesMax) ||
        placement.spread_weight[i] == 0)
      return false;
  for (const int16_t target : placement.target_of)
    if (target < Placement::kSpread || target >= static_cast<int16_t>(kNodesMax)) return false;
  return true;
}

}  // namespace drover::flow
