// Do the helpers of `threads:N` and the background pay? A second CPU that copies, fills and frees
// costs the mover an interrupt at each change of a page table, and on some machines that is more
// than it saves: found by trying both, a few batches in turn, and again from time to time.
//
// Mover thread. Freestanding.
#pragma once

#include "flow/job.h"

namespace drover::flow {

class HelpersTrial {
 public:
  // Of a new job, behind the choice of how it copies (`through`). What was found in others holds if
  // they had as many helpers and copied in the same way.
  void Begin(const Job& job, CopyThrough through);
  // Does the next batch get helpers?
  bool Grants(bool huge, uint64_t batch_bytes);
  // That batch has moved so many pages, and taken so long, with what went before and behind its
  // window. True: from now on batches of this kind get none.
  bool Note(uint64_t pages, uint64_t ns);

 private:
  // With and without in turn, twice; the first batch of each turn still has to do with the one
  // before.
  static constexpr uint32_t kTurn = 4, kTurns = 4;
  static constexpr uint32_t kSamples = (kTurn - 1) * kTurns / 2;
  static constexpr uint32_t kTrialBatches = kTurn * kTurns, kBatchesBetweenTrials = 240;
  // What was asked for is left out only for so much.
  static constexpr uint64_t kSavedPercent = 5;
  static constexpr uint32_t kSizes = 32;  // by powers of two

  struct Case {
    uint32_t batches = 0;                    // since its last trial began
    bool alone = false;                      // what it has shown
    uint64_t ps_per_page[2][kSamples] = {};  // with, without
  };
  static bool IsAlone(const Case& now);
  static bool Decide(Case& now);

  bool on_ = false;
  uint32_t helper_count_ = 0;
  CopyThrough through_ = CopyThrough::kAuto;
  bool reuse_ = false;
  Case cases_[2][kSizes];  // small and huge
  Case* now_ = nullptr;
};

}  // namespace drover::flow
