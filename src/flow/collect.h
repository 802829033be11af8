// collect: walks the requested memory piece by piece. A piece lies in one mapping, within one
// batch's length, and is either whole huge pages or none. The walk's cost follows the present
// pages, not the address space.
#pragma once

#include <optional>
#include <span>

#include "flow/engine.h"
#include "flow/runs.h"

namespace drover::flow {

struct Piece {
  Range range;
  bool huge = false;
  // kNone: the own path can take this mapping; else why not.
  Why not_own = Why::kNone;
  // Of each page: its target node (>= 0), or one of these.
  static constexpr int16_t kAbsent = -1;    // nothing there, or not asked for
  static constexpr int16_t kAnywhere = -2;  // present; no particular node (one-node machine)
  static constexpr int16_t kThereAlready = -3;
  static constexpr int16_t kCutHuge = -4;  // part of a huge page that the request cuts
  int16_t target[kBatchPagesMax];
  int16_t source[kBatchPagesMax];  // its node; negative: there is only one, or it is not known

  // The node of the first page that goes to `to`.
  int16_t SourceFor(int16_t to) const {
    const uint64_t pages = range.length / kPageBytes, i = FindNext(target, 0, pages, to);
    return i < pages ? source[i] : int16_t{-1};
  }
  // The node of all of them; negative: they are on several.
  int16_t OnlySourceFor(int16_t to) const {
    const int16_t first = SourceFor(to);
    const uint64_t pages = range.length / kPageBytes;
    for (uint64_t i = FindNext(target, 0, pages, to), end; i < pages;
         i = FindNext(target, end, pages, to)) {
      end = RunEnd(target, i, pages, to);
      if (RunEnd(source, i, end, first) != end) return -1;
    }
    return first;
  }
};

// Why the own path cannot take pages of this mapping, by what /proc/PID/maps says of it; kNone: it
// can. (Locks and keys are not seen there: unlike.h.)
[[nodiscard]] Why WhyNotOwn(const kernel::Mapping& mapping);

// Has every page of the range these categories (kernel::kPagePresent and its like), and is none the
// zero page? On any thread of the engine's.
[[nodiscard]] bool IsAll(kernel::Kernel& kernel, Range range, uint64_t categories);

// Is all of it in whole huge pages now?
[[nodiscard]] bool IsHuge(Engine& engine, Range range);

class Collector {
 public:
  // `side`: of the ranges of a job that exchanges them only that one's, or all.
  explicit Collector(Engine& engine, int side = Exchange::kBoth) : engine_(engine), side_(side) {}

  // The next piece with at least one present page, or an empty one, so that the caller looks
  // whether the job goes on; false: no more. It is no longer than `most` bytes, or one huge page.
  [[nodiscard]] bool Next(Piece* piece, uint64_t most = kBatchBytesMax);
  // Instead of Next: the next whole 2 MiB slots of one mapping that the own path could take, up to
  // `most` bytes of them, the first with a present page in it; false: no more.
  [[nodiscard]] bool NextSlots(uint64_t most, Range* slots);
  // How many pages the walk would find now.
  uint64_t Estimate();
  // kOk, or the error that ended the walk before its end.
  kernel::Errno error() const { return error_; }

 private:
  // The next stretch of memory with one fate: in one mapping, in the request, not the engine's.
  bool NextStretch();
  void LeaveOutOwn();
  bool LeaveOut(std::span<const Range> ranges);
  // Cuts the first piece with a present page off the stretch; false: none is left in it.
  bool CutPiece(Piece* piece, uint64_t most);
  // Do small pages become huge ones before the walk comes to them?
  bool IsToGather() const;
  // The slot of these has become one, and is behind the walk now. False: not yet tried (then
  // to_gather_ is set), or it stays small.
  bool PassGathered(const kernel::PageRegion& first);
  void GatherNow();
  // The request's first range of this side that reaches beyond at_, or range_count.
  uint32_t RangeBehind(uint64_t at) const;
  std::optional<kernel::PageRegion> FindFirst();
  // No further than the slowest pace between its nodes allows, which are known only now.
  void CutToPace(Piece* piece) const;
  [[nodiscard]] kernel::Errno FindTargets(Piece* piece, uint64_t regions);
  int16_t TargetOf(int32_t node, int16_t of_spread) const;
  uint32_t NextOfSpread() const;
  uint64_t forbidden() const;

  Engine& engine_;
  const int side_;
  uint64_t at_ = 0;     // where the walk goes on
  Range stretch_;       // what is left of the current stretch
  uint32_t range_ = 0;  // in which of the request's it is
  uint64_t gathered_to_ = 0;
  Range to_gather_;  // before the next piece
  kernel::Mapping mapping_;
  kernel::Errno error_ = kernel::Errno::kOk;
};

}  // namespace drover::flow
