#include "flow/cycles.h"
#include "flow/events.h"
#include "flow/fork_guard.h"
#include "flow/phases.h"
#include "flow/runs.h"
#include "flow/waits.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

void SortOut(Batch& batch, uint64_t i, Why why) {
  if (batch.state[i] != PageState::kWanted) return;
  batch.state[i] = PageState::kRefused;
  batch.why[i] = why;
}

void SortOutAll(Batch& batch, uint64_t first, uint64_t end, Why why) {
  for (uint64_t i; (i = FindNext(batch.state, first, end, PageState::kWanted)) < end; first = i)
    SortOut(batch, i, why);
}

// A wanted page that the scan does not show is gone, or was swapped out since it was collected.
// What is absent has been discarded if it was marked; a page in swap has not.
void NoteNotPresent(Engine& engine, uint64_t i) {
  Batch& batch = engine.batch;
  if (engine.entries[i].swapped()) {
    SortOut(batch, i, Why::kSwapped);
    return;
  }
  if (engine.entries[i].present()) {  // a zero page, or one of a file
    if (batch.state[i] == PageState::kWanted) batch.state[i] = PageState::kWithdrawn;
    return;
  }
  if (batch.state[i] == PageState::kWanted) batch.state[i] = PageState::kWithdrawn;
  if (batch.state[i] == PageState::kWithdrawn || batch.state[i] == PageState::kNotWanted)
    engine.marks.Remove(batch.address[i]);
}

// What a registered range has now, by its entries and by a scan (which knows huge and zero pages).
bool LookAgain(Engine& engine) {
  Batch& batch = engine.batch;
  if (engine.kernel.ReadEntries(batch.live.start, {engine.entries, batch.page_count}) != Errno::kOk)
    return false;
  uint64_t walk_end = 0;
  const uint64_t zero = RuleHolds(Rule::kNoZeroPages) ? kernel::kPageZero : 0;
  const auto found = engine.kernel.Scan(batch.live, kernel::kPagePresent, kernel::kPageFile | zero,
                                        kernel::kPageHuge, engine.regions, &walk_end);
  if (!found.has_value()) return false;
  uint64_t at = 0;
  for (uint64_t k = 0; k <= *found; ++k) {
    const bool last = k == *found;
    const uint64_t first =
        last ? batch.page_count : (engine.regions[k].start - batch.live.start) / kPageBytes;
    for (; at < first; ++at) NoteNotPresent(engine, at);
    if (last) break;
    const uint64_t end = (engine.regions[k].end - batch.live.start) / kPageBytes;
    const bool huge = (engine.regions[k].categories & kernel::kPageHuge) != 0;
    if (huge != batch.huge && (batch.huge || RuleHolds(Rule::kWholeHugePages)))
      for (; at < end; ++at) SortOut(batch, at, Why::kUnstable);
    at = end;
  }
  return true;
}

// A huge page goes whole or not at all.
void KeepHugeWhole(Batch& batch) {
  for (uint64_t slot = 0; batch.huge && slot < batch.page_count; slot += kPagesPerHuge) {
    const uint64_t end = slot + kPagesPerHuge,
                   i = RunEnd(batch.state, slot, end, PageState::kWanted);
    const bool refused = i < end && batch.state[i] == PageState::kRefused;
    SortOutAll(batch, slot, i < end ? end : slot, refused ? batch.why[i] : Why::kUnstable);
  }
}

// Sorts out what would refuse inside the window, where every refusal costs.
void SortWanted(Engine& engine) {
  Batch& batch = engine.batch;
  const kernel::PageEntry* entries = engine.entries;
  // (Wanted pages are where they were when the table was filled.)
  const bool any_block =
      RuleHolds(Rule::kControlBlocks) && engine.control_blocks.HoldsAny(batch.live);
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    if (batch.state[i] != PageState::kWanted) continue;
    if (engine.marks.Has(batch.address[i])) SortOut(batch, i, Why::kDiscarding);
    if (RuleHolds(Rule::kSortShared) && entries[i].present() && !entries[i].exclusive())
      SortOut(batch, i, Why::kShared);
    if (any_block && engine.control_blocks.Holds(batch.address[i]))
      SortOut(batch, i, Why::kControlBlock);
  }
  KeepHugeWhole(batch);
}

bool AnyWanted(const Batch& batch) {
  return FindNext(batch.state, 0, batch.page_count, PageState::kWanted) < batch.page_count;
}

// Where the area holds pages of its own, an application's mlockall has filled it, or freeing the
// last originals has failed. False: they are still there, and would pass for isolated pages.
bool EmptyArea(Engine& engine) {
  const Range area{engine.batch.area, engine.batch.live.length};
  (void)engine.kernel.Unlock(area);
  return engine.kernel.Advise(area, Advice::kDontNeed) == Errno::kOk;
}

void MarkOpened(Engine& engine) {
  engine.batch.window.opened_ns = engine.kernel.NowNs();
  engine.batch.window.opened_cycles = Cycles();
}

// From now on somebody may wait for a page.
void NoteAway(Engine& engine) {
  if (engine.batch.any_away) return;
  engine.batch.any_away = true;
  MarkOpened(engine);
}

// After an answer that is not full success the page table of the isolation area says what is out.
// A page there has come from the live range: the area was empty.
void ProveOut(Engine& engine, uint64_t first, uint64_t end, uint64_t believed) {
  Batch& batch = engine.batch;
  if (!RuleHolds(Rule::kPageTableProof)) {
    SetRun(batch.state, first, believed, PageState::kIsolated);
    return;
  }
  const uint64_t last = believed + kDeniedPagesMax < end ? believed + kDeniedPagesMax : end;
  kernel::PageEntry* entries = engine.entries;
  // Cannot be read: ask again for ever, as putting back does; a page must not be forgotten.
  while (engine.kernel.ReadEntries(batch.area + first * kPageBytes, {entries, last - first}) !=
         Errno::kOk) {
  }
  for (uint64_t i = first; i < last; ++i) {
    if (!entries[i - first].holds_page()) continue;
    if (i >= believed) ++engine.result->moves_denied;
    batch.state[i] = PageState::kIsolated;
    NoteAway(engine);
  }
}

// A refusal lengthens the window of the pages that are away already.
bool RefusedEnough(const Batch& batch) {
  if (!RuleHolds(Rule::kBoundRefusals)) return false;
  return batch.refusals >= kRefusalsPerWindowMax ||
         batch.refusals_before >= batch.refusals_before_max;
}

Why WhyOf(Errno error) {
  switch (error) {
    case Errno::kBusy:
      return RuleHolds(Rule::kTellPinsApart) ? Why::kBusy : Why::kShared;
    case Errno::kInvalid:
      return Why::kRights;
    default:
      return Why::kUnstable;
  }
}

// Where the run of folios from `at` ends of which every page is still wanted. (An event may have
// taken a part of one out.)
uint64_t WantedEnd(const Batch& batch, uint64_t at) {
  const uint64_t end = RunEnd(batch.state, at, batch.page_count, PageState::kWanted);
  return end - (end - at) % batch.folio_pages();
}

void NoteRefusal(Batch& batch, uint64_t at, Errno error) {
  ++(batch.any_away ? batch.refusals : batch.refusals_before);
  for (uint64_t i = at; i < at + batch.folio_pages(); ++i) {
    if (error != Errno::kNoEntry)
      SortOut(batch, i, WhyOf(error));
    else if (batch.state[i] == PageState::kWanted)
      batch.state[i] = PageState::kWithdrawn;
  }
}

// Moves out the wanted folios, run by run, in one order from the batch's first page on.
void MoveOut(Engine& engine) {
  Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  for (uint64_t at = 0; at < batch.page_count && !RefusedEnough(batch);) {
    const uint64_t end = WantedEnd(batch, at);
    if (end == at) {
      at += step;
      continue;
    }
    const auto answer = engine.kernel.Move(
        batch.area + at * kPageBytes, batch.live.start + at * kPageBytes, (end - at) * kPageBytes);
    if (answer.error == Errno::kOk) {
      SetRun(batch.state, at, end, PageState::kIsolated);
      at = end;
      NoteAway(engine);
      continue;
    }
    ProveOut(engine, at, end, at + answer.bytes / kPageBytes);
    if (batch.state[at] == PageState::kIsolated) continue;  // goes on behind what is out
    if (answer.error == Errno::kAgain) {  // something is changing: its event comes first
      if (++batch.agains > kAgainsPerWindowMax && RuleHolds(Rule::kBoundAgains)) return;
      Drain(engine);
      continue;
    }
    NoteRefusal(batch, at, answer.error);
    at += step;
  }
}

}  // namespace

bool OpenBatch(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kIsolate);
  Batch& batch = engine.batch;
  if (!EmptyArea(engine)) {
    SortOutAll(batch, 0, batch.page_count, Why::kUnstable);
    return false;
  }
  const kernel::RegisterMode mode = RuleHolds(Rule::kRegisterMissing)
                                        ? kernel::RegisterMode::kMissing
                                        : kernel::RegisterMode::kWriteProtect;
  const Range live = batch.live;
  const uint64_t page_count = batch.page_count;
  // Events find no table, as if it came later.
  if (!RuleHolds(Rule::kTableFirst)) batch.live = {}, batch.page_count = 0;
  Errno error = GuardFromForks(engine);
  if (error == Errno::kOk) {
    const LockTimer lock(engine);
    engine.registered_ns.store(engine.kernel.NowNs(), std::memory_order_relaxed);
    error = engine.kernel.Register(live, mode);
  }
  // For write protection only: mlockall over an empty area that waits for missing pages hangs.
  const auto watch_own = [&](uint64_t start) {
    return engine.kernel.Register({start, live.length}, kernel::RegisterMode::kWriteProtect) ==
           Errno::kOk;
  };
  batch.pool_watched = error == Errno::kOk && batch.fills;
  const bool own_registered = error == Errno::kOk && watch_own(batch.area) &&
                              (!batch.pool_watched || watch_own(batch.pool));
  if (!RuleHolds(Rule::kTableFirst)) batch.live = live, batch.page_count = page_count;
  if (error != Errno::kOk) {
    const Why why = error == Errno::kBusy      ? Why::kForeignUserfault
                    : error == Errno::kInvalid ? Why::kRights
                                               : Why::kMappingChanged;
    // Part of the range may be registered by now. But what another userfaultfd has must be left
    // alone: before Linux 6.17 UNREGISTER would end its registration.
    if (error == Errno::kBusy)
      UnguardFromForks(engine, live);
    else
      Release(engine);
    SortOutAll(batch, 0, batch.page_count, why);
    return false;
  }
  engine.lock.Lock();
  bool ready = own_registered && LookAgain(engine);
  if (ready) SortWanted(engine);
  ready = ready && AnyWanted(batch);
  if (!ready) SortOutAll(batch, 0, batch.page_count, Why::kUnstable);
  engine.lock.Unlock();
  if (!ready) Release(engine);
  return ready;
}

void Isolate(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kIsolate);
  Batch& batch = engine.batch;
  engine.lock.Lock();
  if (RuleHolds(Rule::kDrainBeforeOut)) Drain(engine);
  MarkOpened(engine);
  MoveOut(engine);
  KeepHugeWhole(batch);
  SortOutAll(batch, 0, batch.page_count, Why::kNotTried);
  engine.lock.Unlock();
  // Waits for everybody who is writing to these pages through /proc/PID/mem or ptrace right now.
  if (RuleHolds(Rule::kBarrier)) {
    engine.spare_writable = !engine.spare_writable;
    const LockTimer lock(engine);
    (void)engine.kernel.Protect({engine.spare_page, kPageBytes}, engine.spare_writable);
  }
}

}  // namespace drover::flow
