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

void HelpersTrial::Begin(const Job& job, uint32_t copy_threads, CopyThrough through) {
  // (Under a stall budget it is the window that counts, which is shorter with helpers; and what
  // --verify keeps takes longer than either.)
  on_ =
      job.CopiesByThreadsAlone() && !job.engines[0].always && job.max_stall_ns == 0 && !job.verify;
  now_ = nullptr;
  alone_in_a_row_ = 0;
  if (!on_) return;
  if (copy_threads != copy_threads_ || through != through_ || job.reuse != reuse_) case_count_ = 0;
  copy_threads_ = copy_threads;
  through_ = through;
  reuse_ = job.reuse;
}

HelpersTrial::Case& HelpersTrial::CaseOf(Kind kind) {
  kind.bytes = std::bit_floor(kind.bytes);
  for (uint32_t i = 0; i < case_count_; ++i)
    if (cases_[i].kind == kind) return cases_[i];
  Case& one = cases_[case_count_ < kCasesMax ? case_count_++ : oldest_++ % kCasesMax];
  one = {.kind = kind};
  return one;
}

bool HelpersTrial::Grants(const Kind& kind) {
  if (!on_) return true;
  now_ = &CaseOf(kind);
  return !now_->is_alone();
}

void HelpersTrial::Case::Decide() {
  alone = true;
  for (uint32_t pair = 0; pair < kPairs; ++pair) {
    const uint64_t with = MedianOf(ps_per_page[0][pair], kSamples);
    const uint64_t without = MedianOf(ps_per_page[1][pair], kSamples);
    alone = alone && without * 100 < with * (100 - kSavedPercent);
  }
}

bool HelpersTrial::Note(uint64_t wanted, uint64_t moved, uint64_t ns) {
  if (now_ == nullptr) return false;
  Case& now = *now_;
  now_ = nullptr;
  alone_in_a_row_ = now.is_alone() ? alone_in_a_row_ + 1 : 0;
  const bool many = alone_in_a_row_ == kManyInARow;
  // (What is refused or gone costs time and tells nothing.)
  if (moved * 4 < wanted * 3 || moved == 0) return many;
  const uint32_t turn = now.batches / kTurn, at = now.batches % kTurn;
  if (now.batches < kTrialBatches && at > 0)
    now.ps_per_page[turn % 2][turn / 2][at - 1] = ns * 1000 / moved;
  ++now.batches;
  if (now.batches == kTrialBatches) now.Decide();
  if (now.batches == kTrialBatches + kBatchesBetweenTrials) now.batches = 0;
  return many;
}

}  // namespace drover::flow
