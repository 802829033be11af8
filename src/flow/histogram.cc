#include "flow/job.h"

namespace drover::flow {
namespace {
constexpr uint32_t kSteps = 8;  // buckets per power of two: values are right within an eighth
constexpr uint32_t kBuckets = 40 * kSteps;
}  // namespace

void Histogram::Add(uint64_t ns) {
  const uint64_t value = ns < kSteps ? kSteps : ns;
  const uint32_t exponent = 63 - static_cast<uint32_t>(__builtin_clzll(value));
  uint32_t bucket = (exponent - 3) * kSteps + static_cast<uint32_t>(value >> (exponent - 3) & 7);
  if (bucket >= kBuckets) bucket = kBuckets - 1;
  ++buckets[bucket];
  ++count;
  total_ns += ns;
  if (ns > max_ns) max_ns = ns;
}

void Histogram::AddAll(const Histogram& others) {
  count += others.count;
  total_ns += others.total_ns;
  if (others.max_ns > max_ns) max_ns = others.max_ns;
  for (uint32_t i = 0; i < kBuckets; ++i) buckets[i] += others.buckets[i];
}

uint64_t Histogram::PerMille(uint64_t share) const {
  if (count == 0) return 0;
  const uint64_t wanted = (count * share + 999) / 1000;
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets[i];
    if (seen < wanted || seen == 0) continue;
    const uint64_t upper = (uint64_t{kSteps} + i % kSteps + 1) << (i / kSteps);
    return upper < max_ns ? upper : max_ns;
  }
  return max_ns;
}

}  // namespace drover::flow
