// Pages that are tried once more, because what kept them passes: pinned for a transfer, busy,
// changing under the move. A round of tries comes after the walk, with a pause before it, so that
// no window is held open for a page; how many rounds there are is the job's mode.
#pragma once

#include "flow/collect.h"

namespace drover::flow {

// May a page that was not moved for this cause be moved a moment later?
[[nodiscard]] bool Passes(Why why);

// Is there another round for a page that was not moved for this cause?
[[nodiscard]] bool GetsAnotherTry(const Engine& engine, Why why);

// Pages for which the job has no other try are booked as not moved; the others are put aside.
void SettleNotMoved(Engine& engine, uint64_t address, uint64_t pages, int32_t target, bool huge,
                    Why why);

// Hands out what was put aside, piece by piece, as the collector does with what it finds.
class PutAside {
 public:
  explicit PutAside(Engine& engine) : engine_(engine) {}

  // Takes over what was put aside up to now; false: nothing was, or the mode has no round left.
  [[nodiscard]] bool BeginRound();
  // How long to wait before the round that has begun.
  uint64_t PauseNs() const;
  [[nodiscard]] bool Next(Piece* piece);
  // kOk, or the error that ended the round before its end.
  kernel::Errno error() const { return error_; }
  // No more tries: books what is left.
  void GiveUp();

 private:
  bool FindMapping(AgainRun& run);
  uint64_t HugeEnd(const AgainRun& run);
  int16_t NodeOf(uint64_t page) const;
  void FindSources(Piece* piece);
  void Fill(Piece* piece, uint64_t end);
  void LeaveOutOthers(Piece* piece);

  Engine& engine_;
  kernel::Errno error_ = kernel::Errno::kOk;
  kernel::Mapping mapping_;
  uint32_t round_ = 0;
  uint32_t at_ = 0, count_ = 0;
  AgainRun runs_[kAgainRunsMax];  // of the round in hand
};

}  // namespace drover::flow
