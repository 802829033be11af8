// What becomes of one piece: for each of its target nodes a batch, with a second try for what a
// second try may cure; then each page is booked once.
#pragma once

#include "flow/collect.h"

namespace drover::flow {

struct BatchPlace;

// Large, so it stands in the engine's memory, not on a stack.
class PieceMover {
 public:
  explicit PieceMover(Engine& engine) : engine_(engine) {}

  // The collector fills it.
  Piece piece;
  // Books what needs no move, and moves to all targets, one after another.
  void Move();

 private:
  void MoveTo(int16_t target);
  void MendAfterFork();
  void TryOwnPath(int16_t target);
  // Copies for the pages of this target that are shared after a fork (unshare.cc).
  void Unshare(int16_t target);
  bool MayBeUnshared(uint64_t address) const;
  void UnshareRun(uint64_t first, uint64_t end, int16_t target);
  bool HasRoomFor(uint64_t bytes, uint64_t first, int16_t target);
  void BookCopies(uint64_t first, uint64_t end, int16_t target);

  // Where and how pages of this target move, of which so many are left (where the trial asks).
  BatchPlace PlaceFor(int16_t target, uint64_t wanted);
  // One window for those of the piece that no window has come to yet, and where asked for those
  // that refused and may move now. Where they were not `mended` few refusals are enough to know.
  // False: the job ends here.
  bool MoveThoseLeft(int16_t target, bool refused_too, bool mended);
  void TakeOver(const Batch& batch);
  void BookUnlike(int16_t target);
  // What TryOwnPath would come to, by what the page table says.
  void Predict(int16_t target);
  // The same of the kernel path.
  void PredictKernelPath(uint64_t address, uint64_t count, int16_t target, Why cause);
  // Books the pages of one target; what the own path did not move goes to the kernel path, where
  // there is one for it.
  void Settle(int16_t target);
  void SettleLeft(uint64_t address, uint64_t count, int16_t target, Why cause);
  uint64_t pages() const { return piece.range.length / kPageBytes; }

  Engine& engine_;
  // What became of each page of the target in hand.
  PageState state_[kBatchPagesMax];
  Why why_[kBatchPagesMax];
  kernel::PageEntry copies_[kBatchPagesMax];  // of what was just unshared
};

}  // namespace drover::flow
