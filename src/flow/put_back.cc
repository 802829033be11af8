#include "flow/put_back.h"

#include "flow/events.h"
#include "flow/runs.h"
#include "flow/table.h"

namespace drover::flow {
namespace {

using kernel::Errno;

class Ladder {
 public:
  explicit Ladder(Engine& engine) : engine_(engine), batch_(engine.batch) {}

  // Climbs until page `at` is no longer isolated; takes what follows it along where it can.
  void Climb(uint64_t at, uint64_t last);

 private:
  // Moves target pages [at, end) in; what the page table says has arrived is marked.
  Errno MoveRun(uint64_t at, uint64_t end);
  Errno MoveBack(uint64_t at, uint64_t end);
  uint64_t EndOf(uint64_t at, uint64_t last) const;
  bool Holds(uint64_t page) const;
  // The last rungs, for one page and from its original: the target has been given up.
  void RestoreOriginal(uint64_t at);
  // One try of UFFDIO_COPY. True: the page has a place, or none is left for it.
  bool CopyOrDrop(uint64_t at);

  uint64_t PoolPage(uint64_t i) const { return batch_.TargetOf(i); }
  uint64_t AreaPage(uint64_t i) const { return batch_.area + i * kPageBytes; }

  Engine& engine_;
  Batch& batch_;
};

// A run: isolated pages whose live addresses and targets follow one another.
uint64_t Ladder::EndOf(uint64_t at, uint64_t last) const {
  uint64_t end = RunEnd(batch_.state, at, last, PageState::kIsolated);
  end = RunEnd(batch_.side, at, end, batch_.side[at]);
  const uint64_t start = batch_.address[at] - at * kPageBytes;
  for (uint64_t i = at + 1; i < end; ++i)
    if (batch_.address[i] != start + i * kPageBytes) return i;
  return end;
}

bool Ladder::Holds(uint64_t page) const {
  kernel::PageEntry entry;
  // If the page table cannot be read the page counts as still there: the ladder goes on.
  if (engine_.kernel.ReadEntries(page, {&entry, 1}) != Errno::kOk) return true;
  return entry.holds_page();
}

Errno Ladder::MoveRun(uint64_t at, uint64_t end) {
  const auto answer =
      engine_.kernel.Move(batch_.address[at], PoolPage(at), (end - at) * kPageBytes);
  if (answer.error == Errno::kOk) {
    SetRun(batch_.state, at, end, PageState::kRemapped);
    return Errno::kOk;
  }
  const uint64_t believed = at + answer.bytes / kPageBytes;
  if (!RuleHolds(Rule::kPageTableProof)) {
    SetRun(batch_.state, at, believed, PageState::kRemapped);
    return answer.error;
  }
  // Gone from the engine's own side is proof that it has arrived on the other.
  kernel::PageEntry* entries = engine_.entries;
  if (engine_.kernel.ReadEntries(PoolPage(at), {entries, end - at}) != Errno::kOk)
    return Errno::kAgain;
  for (uint64_t i = at; i < end; ++i) {
    if (entries[i - at].holds_page()) continue;
    if (i >= believed) ++engine_.result->moves_denied;
    batch_.state[i] = PageState::kRemapped;
  }
  return answer.error;
}

// Where there is no target: the originals themselves, whole huge pages among them.
Errno Ladder::MoveBack(uint64_t at, uint64_t end) {
  const auto answer =
      engine_.kernel.Move(batch_.address[at], AreaPage(at), (end - at) * kPageBytes);
  kernel::PageEntry* entries = engine_.entries;
  const bool known = engine_.kernel.ReadEntries(AreaPage(at), {entries, end - at}) == Errno::kOk;
  for (uint64_t i = at; i < end; ++i)
    if (answer.error == Errno::kOk || (known && !entries[i - at].holds_page()))
      batch_.state[i] = PageState::kRestored;
  return answer.error;
}

void Ladder::Climb(uint64_t at, uint64_t last) {
  while (batch_.state[at] == PageState::kIsolated) {
    const uint64_t run_end = EndOf(at, last);
    const bool has_target = batch_.side[at] != Side::kNone;
    Errno error = has_target ? MoveRun(at, run_end) : MoveBack(at, run_end);
    if (batch_.state[at] != PageState::kIsolated) return;
    if (error == Errno::kAgain) {  // a change is under way: its event comes first
      Drain(engine_);
      continue;
    }
    if (!RuleHolds(Rule::kLadder)) continue;  // asks the same for ever
    if (!RuleHolds(Rule::kOnePlace)) {
      batch_.state[at] = PageState::kDropped;
      return;
    }
    ++engine_.result->ladder_steps;
    const auto mapping = engine_.kernel.NextMapping(batch_.address[at]);
    if (has_target && mapping.has_value() && mapping->range.Contains(batch_.address[at])) {
      const uint64_t pages_left = (mapping->range.end() - batch_.address[at]) / kPageBytes;
      if (pages_left < run_end - at) {
        error = MoveRun(at, at + pages_left);
        if (batch_.state[at] != PageState::kIsolated) return;
      }
    }
    RestoreOriginal(at);
  }
}

void Ladder::RestoreOriginal(uint64_t at) {
  // COPY allocates a page, so one of the two copies goes first: the target. From here on an empty
  // pool says nothing any more; what proves an arrival is that the original has left the area.
  if (batch_.side[at] == Side::kOther ||
      (batch_.side[at] == Side::kFirst && MayFreeTarget(engine_)))
    (void)engine_.kernel.Advise({PoolPage(at), kPageBytes}, kernel::Advice::kDontNeed);
  for (;;) {
    if (CopyOrDrop(at)) return;
    Drain(engine_);
    if (batch_.state[at] != PageState::kIsolated) return;  // dropped by the application
    const auto answer = engine_.kernel.Move(batch_.address[at], AreaPage(at), kPageBytes);
    if (answer.error == Errno::kOk || !Holds(AreaPage(at))) {
      batch_.state[at] = PageState::kRestored;
      return;
    }
  }
}

bool Ladder::CopyOrDrop(uint64_t at) {
  const uint64_t live = batch_.address[at];
  kernel::PageEntry entry;
  if (engine_.kernel.ReadEntries(live, {&entry, 1}) == Errno::kOk && entry.guard()) {
    batch_.state[at] = PageState::kDropped;  // a guard discards; COPY would destroy it silently
    return true;
  }
  switch (engine_.kernel.CopyPage(kernel::kOwnUserfault, live, AreaPage(at))) {
    case Errno::kOk:
      ++engine_.result->ladder_copies;
      batch_.state[at] = PageState::kRestored;
      return true;
    case Errno::kNoEntry:    // the mapping is gone, or another one that is not registered is there
    case Errno::kInvalid:    // the same, with a mapping that cannot be registered
    case Errno::kNoProcess:  // the process is ending
      batch_.state[at] = PageState::kDropped;
      return true;
    case Errno::kExists:
      // The application has put another page there, which then is its content; if the page table
      // does not say so, look again.
      if (!Holds(live)) return false;
      batch_.state[at] = PageState::kDropped;
      return true;
    default:  // kAgain, kNoMemory: again
      return false;
  }
}

}  // namespace

void PutBack(Engine& engine, uint64_t first, uint64_t last) {
  Ladder ladder(engine);
  const auto next = [&](uint64_t at) {
    return FindNext(engine.batch.state, at, last, PageState::kIsolated);
  };
  for (uint64_t at = next(first); at < last; at = next(at + 1)) ladder.Climb(at, last);
}

}  // namespace drover::flow
