#include "flow/piece.h"

#include "flow/again.h"
#include "flow/flow.h"
#include "flow/kernel_path.h"
#include "flow/runs.h"
#include "flow/table.h"
#include "flow/unlike.h"
#include "flow/untouched.h"
#include "flow/verify.h"

namespace drover::flow {
namespace {

using kernel::Errno;

// May another try help?
bool Curable(Why why) {
  // (A page in swap would have to be touched first.)
  return why == Why::kBusy || why == Why::kNotTried || why == Why::kUnstable;
}

}  // namespace

void PieceMover::Move() {
  for (uint64_t i = 0, end; i < pages(); i = end) {
    const int16_t target = piece.target[i];
    end = RunEnd(piece.target, i, pages(), target);
    const uint64_t address = piece.range.start + i * kPageBytes;
    if (target == Piece::kThereAlready)
      Book(engine_, address, end - i, -1, Outcome::kAlreadyThere, Why::kNone);
    if (target == Piece::kCutHuge)
      Book(engine_, address, end - i, -1, Outcome::kNotMoved, Why::kPartOfHuge);
    if (target != Piece::kAnywhere && target < 0) continue;
    if (FindNext(piece.target, 0, i, target) == i) MoveTo(target);  // few targets: look back
  }
}

void PieceMover::MoveTo(int16_t target) {
  JobResult& result = *engine_.result;
  if (piece.huge && engine_.huge_disabled && piece.not_own == Why::kNone)
    piece.not_own = Why::kHugeDisabled;
  engine_.budget.UsePair(piece.SourceFor(target), target);
  if (piece.huge && piece.not_own == Why::kNone) engine_.budget.MeasureHuge(engine_);
  if (engine_.marks.overflowed() && result.own_path_trouble == Trouble::kNone)
    result.own_path_trouble = Trouble::kDiscards;
  const bool own_path = engine_.job->own_path && result.own_path_trouble == Trouble::kNone;
  // (The kernel does not copy ahead.)
  if (piece.not_own == Why::kNone &&
      (engine_.budget.IsOver(piece.huge) || (!own_path && engine_.budget.NeedsPrecopy(piece.huge))))
    piece.not_own = Why::kOverBudget;
  if (engine_.time_is_up) piece.not_own = Why::kTimeIsUp;
  const Why cause = piece.not_own != Why::kNone ? piece.not_own : Why::kOwnPathRefused;
  SetRun(state_, 0, pages(), PageState::kRefused);
  SetRun(why_, 0, pages(), cause);
  if (own_path && piece.not_own == Why::kNone) {
    if (engine_.job->plan_only)
      Predict(target);
    else
      TryOwnPath(target);
  }
  Settle(target);
}

// A page whose child is gone refuses until it is written; a write fault does it without a copy.
// Only pages that are mapped once, so that nothing shared is copied.
void PieceMover::MendAfterFork() {
  if (!RuleHolds(Rule::kMendAfterFork)) return;
  kernel::Kernel& kernel = engine_.kernel;
  if (kernel.ReadEntries(piece.range.start, {engine_.entries, pages()}) != Errno::kOk) return;
  for (uint64_t at = 0; at < pages();) {
    uint64_t end = at;
    while (end < pages() && (piece.target[end] >= 0 || piece.target[end] == Piece::kAnywhere) &&
           engine_.entries[end].present() && engine_.entries[end].exclusive())
      ++end;
    if (end > at)
      (void)kernel.Advise({piece.range.start + at * kPageBytes, (end - at) * kPageBytes},
                          kernel::Advice::kPopulateWrite);
    at = end + 1;
  }
}

void PieceMover::TryOwnPath(int16_t target) {
  bool mended = engine_.mend_pieces_left > 0;
  if (mended) {
    --engine_.mend_pieces_left;
    MendAfterFork();
  }
  SetRun(why_, 0, pages(), Why::kNotTried);
  if (engine_.job->unshare || !RuleHolds(Rule::kKeepShared)) Unshare(target);
  bool refused_too = false;
  for (int window = 1; window <= kWindowsPerPieceMax; ++window) {
    const bool going_on = MoveThoseLeft(target, refused_too, mended);
    bool untried = false, curable = false, busy = false, rights = false;
    for (uint64_t i = 0, end; i < pages(); i = end) {
      const Why why = why_[i];
      end = RunEnd(why_, i, pages(), why);
      if (FindNext(piece.target, i, end, target) == end) continue;
      untried = untried || why == Why::kNotTried;
      curable = curable || Curable(why);
      busy = busy || why == Why::kBusy;
      rights = rights || why == Why::kRights;
    }
    if (rights) BookUnlike(target);
    if (busy) engine_.mend_pieces_left = kPiecesMendedAfterBusy;
    // What refuses although it was written to before is for a later round.
    if (!going_on || !curable || (mended && !untried)) break;
    if (!mended) MendAfterFork();
    refused_too = !mended;
    mended = true;
  }
}

BatchPlace PieceMover::PlaceFor(int16_t target, uint64_t wanted) {
  const Node node{target >= 0 ? target : -1};
  const int16_t source = piece.OnlySourceFor(target);
  uint64_t kept_area = 0;  // first, because it may carry late writes over by batches of its own
  if (engine_.verifier != nullptr)
    kept_area = engine_.verifier->RoomFor(piece.range, piece.huge, node);
  const bool precopied = engine_.budget.Precopies(piece.huge);
  const bool fills = FillsTargets(engine_, piece.huge, precopied);
  const bool alone =
      !engine_.helpers_trial.Grants({piece.huge, wanted * kPageBytes, source, target});
  // (Freeing by another CPU interrupts this one: not where a window is to be short for it.)
  const bool in_berth = !alone && !(fills && engine_.budget.is_limited());
  BatchPlace place = OwnPlaceFor(engine_, piece.range, piece.huge, node, in_berth);
  if (kept_area != 0) place.area = kept_area;
  place.source = {source};
  place.alone = alone;
  place.precopied = precopied;
  place.fills = fills;
  return place;
}

bool PieceMover::MoveThoseLeft(int16_t target, bool refused_too, bool mended) {
  Batch& batch = engine_.batch;
  const auto left = [&](uint64_t i) {
    return piece.target[i] == target &&
           (why_[i] == Why::kNotTried || (refused_too && Curable(why_[i])));
  };
  uint64_t wanted = 0;  // where the trial asks
  for (uint64_t i = 0; engine_.helpers_trial.is_on() && i < pages(); ++i) wanted += left(i) ? 1 : 0;
  const uint64_t begin_ns = engine_.kernel.NowNs();
  const BatchPlace place = PlaceFor(target, wanted);
  // A slot that is not wanted as a whole is no huge page any more; its parts are for another round.
  bool whole[kBatchPagesMax / kPagesPerHuge];
  for (uint64_t slot = 0; piece.huge && slot < pages(); slot += kPagesPerHuge) {
    bool& all = whole[slot / kPagesPerHuge] = true;
    for (uint64_t i = slot; i < slot + kPagesPerHuge; ++i) all = all && left(i);
    for (uint64_t i = slot; !all && i < slot + kPagesPerHuge; ++i)
      if (left(i)) why_[i] = Why::kUnstable;
  }
  FillTable(engine_, place,
            [&](uint64_t i) { return piece.huge ? whole[i / kPagesPerHuge] : left(i); });
  batch.refusals_before_max = mended ? kRefusalsBeforeWindowMax : kRefusalsPerWindowMax;
  const bool going_on = MoveBatch(engine_);
  if (engine_.helpers_trial.Note(wanted, batch.window.pages, engine_.kernel.NowNs() - begin_ns) &&
      engine_.background != nullptr)
    engine_.background->Empty();
  TakeOver(batch);
  return going_on;
}

// What the batch has come to.
void PieceMover::TakeOver(const Batch& batch) {
  for (uint64_t i = 0, end; i < pages(); i = end) {
    const PageState state = batch.state[i];
    end = RunEnd(batch.state, i, pages(), state);
    if (state == PageState::kNotWanted) continue;
    const bool untouched = state == PageState::kWanted;
    SetRun(state_, i, end, untouched ? PageState::kRefused : state);
    if (state == PageState::kRefused || state == PageState::kRestored)
      for (uint64_t k = i; k < end; ++k) why_[k] = batch.why[k];
    else
      SetRun(why_, i, end, untouched ? Why::kOwnPathRefused : Why::kNone);
    if (piece.huge && state == PageState::kRemapped) engine_.result->moved_huge += end - i;
  }
}

// One page has been refused for a lock or key of its mapping: so will the others be.
void PieceMover::BookUnlike(int16_t target) {
  LearnUnlike(engine_);
  for (uint64_t i = 0; i < pages(); ++i) {
    if (piece.target[i] != target || state_[i] != PageState::kRefused) continue;
    const Why why = WhyUnlike(engine_, piece.range.start + i * kPageBytes);
    if (why != Why::kNone) why_[i] = why;
  }
}

void PieceMover::Predict(int16_t target) {
  const uint64_t step = piece.huge ? kPagesPerHuge : 1;
  ++engine_.result->batches;
  if (engine_.kernel.ReadEntries(piece.range.start, {engine_.entries, pages()}) != Errno::kOk)
    return;
  for (uint64_t first = 0; first < pages(); first += step) {
    if (piece.target[first] != target) continue;
    Why why = Why::kNone;  // one page that stays keeps its whole folio
    for (uint64_t i = first; i < first + step && why == Why::kNone; ++i) {
      const uint64_t address = piece.range.start + i * kPageBytes;
      if (engine_.entries[i].present() && !engine_.entries[i].exclusive()) {
        if (!engine_.job->unshare)
          why = Why::kShared;
        else if (MayBeUnshared(address))
          ++engine_.result->pages_unshared;
      }
      if (engine_.control_blocks.Holds(address)) why = Why::kControlBlock;
      if (engine_.marks.Has(address)) why = Why::kDiscarding;
    }
    for (uint64_t i = first; i < first + step; ++i) {
      state_[i] = why == Why::kNone ? PageState::kRemapped : PageState::kRefused;
      why_[i] = why;
    }
  }
}

// Unless it is asked to, move_pages leaves pages that other processes map as well.
void PieceMover::PredictKernelPath(uint64_t address, uint64_t count, int16_t target, Why cause) {
  const uint64_t first = (address - piece.range.start) / kPageBytes;
  kernel::PageEntry* entries = engine_.entries;
  const bool known =
      engine_.kernel.ReadEntries(piece.range.start, {entries, pages()}) == Errno::kOk;
  for (uint64_t i = first; i < first + count; ++i) {
    const uint64_t page = piece.range.start + i * kPageBytes;
    if (!engine_.job->shared && known && entries[i].present() && !entries[i].exclusive()) {
      Book(engine_, page, 1, target, Outcome::kNotMoved,
           cause == Why::kShared ? cause : Why::kSeveralProcesses);
    } else {
      ++engine_.result->moved_kernel_path;
      Book(engine_, page, 1, target, Outcome::kMoved, Why::kNone);
    }
  }
}

void PieceMover::Settle(int16_t target) {
  for (uint64_t i = 0; i < pages();) {
    if (piece.target[i] != target) {
      ++i;
      continue;
    }
    // Pages of one fate are booked together.
    uint64_t end = RunEnd(piece.target, i, pages(), target);
    end = RunEnd(state_, i, end, state_[i]);
    end = RunEnd(why_, i, end, why_[i]);
    const uint64_t address = piece.range.start + i * kPageBytes, count = end - i;
    if (state_[i] == PageState::kRemapped) {
      engine_.result->moved_own_path += count;
      if (piece.huge && engine_.job->plan_only) engine_.result->moved_huge += count;
      Book(engine_, address, count, target, Outcome::kMoved, Why::kNone);
    } else if (state_[i] == PageState::kDropped || state_[i] == PageState::kWithdrawn) {
      Book(engine_, address, count, target, Outcome::kGone, Why::kNone);
    } else {
      SettleLeft(address, count, target, why_[i] == Why::kNone ? Why::kMappingChanged : why_[i]);
    }
    i = end;
  }
}

void PieceMover::SettleLeft(uint64_t address, uint64_t count, int16_t target, Why cause) {
  const Job& job = *engine_.job;
  const bool kernel_path = job.kernel_path && !job.placement.same && target >= 0 &&
                           piece.not_own != Why::kNotMovable &&
                           // The program would wait as long for the kernel.
                           cause != Why::kOverBudget && !engine_.budget.NeedsPrecopy(piece.huge) &&
                           piece.not_own != Why::kTimeIsUp;
  if (kernel_path && job.plan_only) {
    PredictKernelPath(address, count, target, cause);
    return;
  }
  for (uint64_t at = address, step; at < address + count * kPageBytes; at += step * kPageBytes) {
    const uint64_t left = count - (at - address) / kPageBytes;
    // What was a huge page when it was collected may have been split since.
    const bool huge = piece.huge && left >= kPagesPerHuge && at % kHugeBytes == 0 &&
                      IsHuge(engine_, {at, kHugeBytes});
    step = huge ? kPagesPerHuge : kernel_path || piece.huge ? 1 : left;
    // (Then the own path comes first, with its small pages.)
    const bool small_now = piece.huge && !huge && GetsAnotherTry(engine_, cause);
    if (kernel_path && !small_now)
      KernelPathAdd(engine_, at, step, target, cause);
    else
      SettleNotMoved(engine_, at, step, target, huge, cause);
  }
}

}  // namespace drover::flow
