#include "flow/helpers_trial.h"

#include <bit>

namespace drover::flow {
namespace {

// The lower middle one. Sorts.
uint64_t MedianOf(uint64_t* values, uint32_t count) {
  for (uint32_t i = 1; i < count; ++i) {
    const uint64_t value = values[i];
    uint32_t k = i;
    for (; k > 0 && values[k - 1] > value; --k) values[k] = values[k - 1];
    values[k] = value;
  }
  return values[(count - 1) / 2];
}

}  // namespace

void HelpersTrial::Begin(const Job& job, CopyThrough through) {
  // (Under a stall budget it is the window that counts, which is shorter with helpers.)
  on_ = job.helper_count > 0 && job.CopiesByThreadsAlone() && job.max_stall_ns == 0;
  now_ = nullptr;
  if (!on_) return;
  if (job.helper_count != helper_count_ || through != through_ || job.reuse != reuse_)
    for (auto& of_size : cases_)
      for (Case& one : of_size) one = {};
  helper_count_ = job.helper_count;
  through_ = through;
  reuse_ = job.reuse;
}

bool HelpersTrial::IsAlone(const Case& now) {
  return now.batches < kTrialBatches ? now.batches / kTurn % 2 == 1 : now.alone;
}

bool HelpersTrial::Grants(bool huge, uint64_t batch_bytes) {
  if (!on_) return true;
  const auto size = static_cast<uint32_t>(std::bit_width(batch_bytes / kPageBytes));
  now_ = &cases_[huge][size < kSizes ? size : kSizes - 1];
  return !IsAlone(*now_);
}

bool HelpersTrial::Decide(Case& now) {
  const uint64_t with = MedianOf(now.ps_per_page[0], kSamples);
  const uint64_t without = MedianOf(now.ps_per_page[1], kSamples);
  now.alone = without * 100 < with * (100 - kSavedPercent);
  return now.alone;
}

bool HelpersTrial::Note(uint64_t pages, uint64_t ns) {
  if (now_ == nullptr || pages == 0) return false;
  Case& now = *now_;
  now_ = nullptr;
  const uint32_t turn = now.batches / kTurn, at = now.batches % kTurn;
  if (now.batches < kTrialBatches && at > 0)
    now.ps_per_page[turn % 2][turn / 2 * (kTurn - 1) + at - 1] = ns * 1000 / pages;
  ++now.batches;
  if (now.batches == kTrialBatches + kBatchesBetweenTrials) now.batches = 0;
  return now.batches == kTrialBatches && Decide(now);
}

}  // namespace drover::flow
