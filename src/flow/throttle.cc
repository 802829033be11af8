#include "flow/throttle.h"

#include "flow/job.h"

namespace drover::flow {
namespace {

// Shorter waits are put together.
constexpr int64_t kWaitLeastNs = 1'000'000;
// So much of what it has fallen behind it may catch up.
constexpr int64_t kBehindMostNs = 20'000'000;

}  // namespace

void Throttle::Begin(const Job& job, const Used& now) {
  rate_ = job.plan_only ? 0 : job.rate_bytes_per_s;
  cpu_percent_ = job.plan_only ? 0 : job.cpu_percent;
  last_ = now;
  owed_ns_ = 0;
}

uint64_t Throttle::WaitNs(const Used& now) {
  if (!is_bounded()) return 0;
  uint64_t cost_ns = 0;  // the time that what was done ought to have taken
  if (rate_ > 0) {
    const uint64_t bytes = (now.pages - last_.pages) * kPageBytes;
    // (In two steps: nanoseconds by bytes do not fit.)
    cost_ns = bytes / rate_ * 1'000'000'000 + bytes % rate_ * 1'000'000 / rate_ * 1'000;
  }
  if (cpu_percent_ > 0) {
    const uint64_t for_cpu_ns = (now.cpu_ns - last_.cpu_ns) * 100 / cpu_percent_;
    if (for_cpu_ns > cost_ns) cost_ns = for_cpu_ns;
  }
  owed_ns_ += static_cast<int64_t>(cost_ns) - static_cast<int64_t>(now.now_ns - last_.now_ns);
  if (owed_ns_ < -kBehindMostNs) owed_ns_ = -kBehindMostNs;
  last_ = now;
  return owed_ns_ < kWaitLeastNs ? 0 : static_cast<uint64_t>(owed_ns_);
}

}  // namespace drover::flow
