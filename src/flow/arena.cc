// The engine's own memory: one mapping, cut into the engine's state and its areas for small pages,
// and one for its areas for huge pages.
#include <new>
#include <utility>

#include "flow/flow.h"
#include "flow/headroom.h"
#include "flow/status.h"

namespace drover::flow {
namespace {

constexpr uint64_t kStateBytes = RoundUp(sizeof(Engine), kHugeBytes);
constexpr uint64_t kArenaBytes = kStateBytes + 4 * kAreaBytes + 2 * kHugeBytes;
constexpr uint64_t kApartBytes = 4 * kAreaBytes + kHugeBytes;

using kernel::Advice;

bool LocksMemory(kernel::Kernel& kernel) {
  uint64_t kilobytes = 0;
  return StatusNumber(kernel, "VmLck:", &kilobytes) && kilobytes > 0;
}

// Halfway to the place that the kernel chose, where hardly anybody maps anything: a GiB for the
// huge pages alone. A hypervisor that shadows page tables forgets all of a GiB at the third huge
// page that is mapped or unmapped there with none touched first in between (Linux,
// arch/x86/kvm/mmu/mmu.c, detect_write_flooding), and every page of it costs a fault then, the
// engine's state and the program's code too, where they stand side by side.
// (Another engine of this process may be there.)
std::optional<Range> MapApart(kernel::Kernel& kernel, uint64_t arena) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  constexpr int kTries = 3;
  for (int i = 1;; ++i) {
    const uint64_t wish = RoundDown(arena / 2, kGiB) - static_cast<uint64_t>(i) * kGiB;
    const auto mapped = MapOwn(kernel, kApartBytes, wish);
    if (!mapped.has_value() || mapped->start == wish || i == kTries) return mapped;
    kernel.Unmap(*mapped);
  }
}

}  // namespace

std::optional<Range> MapOwn(kernel::Kernel& kernel, uint64_t bytes, uint64_t wish) {
  // After mlockall(MCL_FUTURE) a mapping is filled when it is made, and beyond a limit that kills.
  if (LocksMemory(kernel) &&
      (FreeBelowGroupLimits(kernel, 0) < 2 * bytes || FreeOnNode(kernel, Node{-1}) < 2 * bytes))
    return std::nullopt;
  const auto mapped = kernel.MapAt(wish, bytes);
  if (!mapped.has_value()) return std::nullopt;
  const Range range{*mapped, bytes};
  // Untouched, each range: pages of the engine shared with a child would refuse to move.
  if (RuleHolds(Rule::kAreasDontFork)) (void)kernel.Advise(range, Advice::kDontFork);
  (void)kernel.Unlock(range);
  (void)kernel.Advise(range, Advice::kDontNeed);
  return range;
}

Engine* MakeEngine(const Parts& parts, Range stacks) {
  kernel::Kernel& kernel = parts.kernel;
  const auto arena = MapOwn(kernel, kArenaBytes);
  if (!arena.has_value()) return nullptr;
  const auto apart = MapApart(kernel, arena->start);
  if (!apart.has_value()) {
    kernel.Unmap(*arena);
    return nullptr;
  }
  const uint64_t state = RoundUp(arena->start, kHugeBytes);
  (void)kernel.Advise({state, kStateBytes}, Advice::kNoHugePage);
  auto* engine = new (reinterpret_cast<void*>(state)) Engine(parts);
  uint64_t small = state + kStateBytes, huge = RoundUp(apart->start, kHugeBytes);
  const auto cut = [](uint64_t* from) { return std::exchange(*from, *from + kAreaBytes); };
  for (Areas& areas : engine->areas) {
    areas.area_small = cut(&small);
    areas.pool_small = cut(&small);
    areas.area_huge = cut(&huge);
    areas.pool_huge = cut(&huge);
    (void)kernel.Advise({areas.area_small, 2 * kAreaBytes}, Advice::kNoHugePage);
    // (Both, because they may change their roles: reuse.h.)
    (void)kernel.Advise({areas.area_huge, 2 * kAreaBytes}, Advice::kHugePage);
  }
  engine->spare_page = small;
  engine->apart = *apart;
  AddOwn(*engine, *arena);
  AddOwn(*engine, *apart);
  AddOwn(*engine, stacks);
  return engine;
}

void UnmapEngine(Engine& engine) {
  kernel::Kernel& kernel = engine.kernel;
  const Range arena = engine.own[0];
  kernel.Unmap(engine.apart);
  kernel.Unmap(arena);
}

void AddOwn(Engine& engine, Range range) {
  if (engine.own_count < kOwnRangesMax && !range.empty()) engine.own[engine.own_count++] = range;
}

void RemoveOwn(Engine& engine, Range range) {
  for (uint32_t i = 0; i < engine.own_count; ++i)
    if (engine.own[i] == range) {
      engine.own[i] = engine.own[--engine.own_count];
      return;
    }
}

}  // namespace drover::flow
