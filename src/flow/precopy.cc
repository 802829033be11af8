#include "flow/precopy.h"

#include "flow/phases.h"

namespace drover::flow {
namespace {

using kernel::Errno;
using Lanes [[gnu::vector_size(16), gnu::may_alias]] = uint64_t;

bool IsSamePage(uint64_t a, uint64_t b) {
  constexpr uint64_t kAtOnce = 8;
  const auto* left = reinterpret_cast<const Lanes*>(a);
  const auto* right = reinterpret_cast<const Lanes*>(b);
  for (uint64_t i = 0; i < kPageBytes / sizeof(Lanes); i += kAtOnce) {
    Lanes differs = left[i] ^ right[i];
    for (uint64_t k = 1; k < kAtOnce; ++k) differs |= left[i + k] ^ right[i + k];
    if ((differs[0] | differs[1]) != 0) return false;
  }
  return true;
}

// Calls visit(first, end) for each run of wanted pages, cut to `most` pages. Not those that the
// program has thrown away, and the kernel not yet: to read them could put zero pages there.
template <class Visit>
void ForEachWanted(Engine& engine, uint64_t most, const Visit& visit) {
  const Batch& batch = engine.batch;
  const auto wanted = [&](uint64_t i) {
    return batch.state[i] == PageState::kWanted && !engine.marks.Has(batch.address[i]);
  };
  for (uint64_t first = 0; first < batch.page_count;) {
    uint64_t end = first;
    engine.lock.Lock();
    while (end < batch.page_count && end - first < most && wanted(end)) ++end;
    engine.lock.Unlock();
    if (end > first) visit(first, end);
    first = end > first ? end : first + 1;
  }
}

Errno Read(Engine& engine, uint64_t first, uint64_t end, uint64_t to) {
  return engine.kernel.ReadMemory(engine.batch.live.start + first * kPageBytes, to,
                                  (end - first) * kPageBytes);
}

// How many pages have been read. (What has not differs, and is copied in the window, if it is still
// there.)
uint64_t ReadAll(Engine& engine) {
  const Batch& batch = engine.batch;
  uint64_t pages = 0;
  ForEachWanted(engine, batch.page_count, [&](uint64_t first, uint64_t end) {
    if (Read(engine, first, end, batch.TargetOf(first)) == Errno::kOk) {
      pages += end - first;
      return;
    }
    for (uint64_t i = first; i < end; ++i)
      pages += Read(engine, i, i + 1, batch.TargetOf(i)) == Errno::kOk ? 1 : 0;
  });
  return pages;
}

// How many differ from what was read; their targets have it from now on, if it can be read.
uint64_t ReadChanged(Engine& engine) {
  const Batch& batch = engine.batch;
  const auto again = reinterpret_cast<uint64_t>(&engine.read_again[0]);
  uint64_t changed = 0;
  ForEachWanted(engine, kPrecopyStepBytes / kPageBytes, [&](uint64_t first, uint64_t end) {
    if (Read(engine, first, end, again) != Errno::kOk) {
      changed += end - first;
      return;
    }
    for (uint64_t i = first; i < end; ++i) {
      const uint64_t page = again + (i - first) * kPageBytes;
      if (IsSamePage(page, batch.TargetOf(i))) continue;
      engine.copy.small(batch.TargetOf(i), page, kPageBytes);
      ++changed;
    }
  });
  return changed;
}

// The window would be as long as that of a copy.
void LeaveForBudget(Engine& engine) {
  Batch& batch = engine.batch;
  engine.lock.Lock();
  for (uint64_t i = 0; i < batch.page_count; ++i)
    if (batch.state[i] == PageState::kWanted) {
      batch.state[i] = PageState::kRefused;
      batch.why[i] = Why::kOverBudget;
    }
  engine.lock.Unlock();
}

// Looks again while much has changed. True: still too much.
bool GoesOnChanging(Engine& engine, uint64_t pages) {
  for (int round = 1; round < kPrecopyRoundsMax && engine.write_rate.is_high(); ++round) {
    const uint64_t changed = ReadChanged(engine);
    engine.write_rate.Note(changed, pages);
    if (!WriteRate::IsHigh(changed, pages)) return false;
  }
  return engine.write_rate.is_high();
}

}  // namespace

bool CopyAhead(Engine& engine) {
  if (!engine.batch.precopied) return true;
  const PhaseTimer timer(engine, Phase::kPrecopy);
  const bool needed = engine.budget.NeedsPrecopy(engine.batch.huge);
  const uint64_t pages = ReadAll(engine);
  if (pages == 0) engine.batch.precopied = false;  // nothing could be read
  if ((pages > 0 && !GoesOnChanging(engine, pages)) || !needed) return true;
  LeaveForBudget(engine);
  return false;
}

uint64_t CopyChanged(std::span<migrators::Folio> folios, migrators::CopyFunction copy) {
  uint64_t changed = 0;
  for (migrators::Folio& folio : folios) {
    folio.copied = true;
    for (uint64_t at = 0; at < folio.length_bytes && RuleHolds(Rule::kCompareChanged);
         at += kPageBytes) {
      if (IsSamePage(folio.source + at, folio.target + at)) continue;
      copy(folio.target + at, folio.source + at, kPageBytes);
      ++changed;
    }
  }
  return changed;
}

}  // namespace drover::flow
