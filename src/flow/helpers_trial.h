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
  // Batches that are alike: of so many bytes (by powers of two), between two nodes.
  struct Kind {
    bool huge = false;
    uint64_t bytes = 0;
    int32_t source = -1, target = -1;

    bool operator==(const Kind&) const = default;
  };

  // No trial in this job, until Begin: every batch gets what there is.
  void Leave() { on_ = false; }
  bool is_on() const { return on_; }
  // The job has so many threads that copy, the mover included, and small pages go `through`. What
  // was found in others that were alike holds.
  void Begin(const Job& job, uint32_t copy_threads, CopyThrough through);
  // Does the next batch get helpers?
  bool Grants(const Kind& kind);
  // That batch was to move so many pages, has moved so many, and has taken so long, with what went
  // before and behind its window. True: there have been many in a row without.
  bool Note(uint64_t wanted, uint64_t moved, uint64_t ns);

 private:
  // With and without in turn, twice; the first batch of each turn still has to do with the one
  // before.
  static constexpr uint32_t kTurn = 4, kPairs = 2;
  static constexpr uint32_t kSamples = kTurn - 1;
  static constexpr uint32_t kTrialBatches = 2 * kPairs * kTurn, kBatchesBetweenTrials = 240;
  static constexpr uint32_t kManyInARow = 2 * kTurn;
  // What was asked for is left out only for so much, both times: who else is on the machine may
  // take the CPU, or the memory's speed, from one of them.
  static constexpr uint64_t kSavedPercent = 5;
  static constexpr uint32_t kCasesMax = 64;

  struct Case {
    Kind kind;                                       // its bytes a power of two
    uint32_t batches = 0;                            // since its last trial began
    bool alone = false;                              // what it has shown
    uint64_t ps_per_page[2][kPairs][kSamples] = {};  // with, without

    bool is_alone() const { return batches < kTrialBatches ? batches / kTurn % 2 == 1 : alone; }
    void Decide();
  };
  Case& CaseOf(Kind kind);

  bool on_ = false;
  uint32_t copy_threads_ = 0;
  CopyThrough through_ = CopyThrough::kAuto;
  bool reuse_ = false;
  uint32_t case_count_ = 0, oldest_ = 0;
  Case cases_[kCasesMax];
  Case* now_ = nullptr;
  uint32_t alone_in_a_row_ = 0;
};

}  // namespace drover::flow
