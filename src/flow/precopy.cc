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

// Calls visit(first, end) for each run of wanted pages, cut to `most` pages.
template <class Visit>
void ForEachWanted(const Batch& batch, uint64_t most, const Visit& visit) {
  for (uint64_t first = 0; first < batch.page_count;) {
    uint64_t end = first;
    while (end < batch.page_count && end - first < most && batch.state[end] == PageState::kWanted)
      ++end;
    if (end > first) visit(first, end);
    first = end > first ? end : first + 1;
  }
}

uint64_t LiveOf(const Batch& batch, uint64_t i) {
  return batch.live.start + i * kPageBytes;
}

// (What cannot be read differs, and is copied in the window, if it is still there.)
uint64_t ReadAll(Engine& engine) {
  const Batch& batch = engine.batch;
  uint64_t pages = 0;
  ForEachWanted(batch, batch.page_count, [&](uint64_t first, uint64_t end) {
    (void)engine.kernel.ReadMemory(LiveOf(batch, first), batch.TargetOf(first),
                                   (end - first) * kPageBytes);
    pages += end - first;
  });
  return pages;
}

// How many have changed since they were read; from now on their targets have that.
uint64_t ReadChanged(Engine& engine) {
  const Batch& batch = engine.batch;
  const auto again = reinterpret_cast<uint64_t>(&engine.read_again[0]);
  uint64_t changed = 0;
  ForEachWanted(batch, kPrecopyStepBytes / kPageBytes, [&](uint64_t first, uint64_t end) {
    if (engine.kernel.ReadMemory(LiveOf(batch, first), again, (end - first) * kPageBytes) !=
        Errno::kOk)
      return;
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

}  // namespace

void CopyAhead(Engine& engine) {
  if (!engine.batch.precopied) return;
  const PhaseTimer timer(engine, Phase::kPrecopy);
  const uint64_t pages = ReadAll(engine);
  uint64_t changed = 0;
  for (int round = 1; round < kPrecopyRoundsMax && engine.write_rate.is_high(); ++round) {
    changed = ReadChanged(engine);
    engine.write_rate.Note(changed, pages);
    if (changed * 1024 <= pages * kPrecopyChangedMost) return;
  }
  if (engine.write_rate.is_high() && engine.budget.NeedsPrecopy(engine.batch.huge))
    LeaveForBudget(engine);
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
