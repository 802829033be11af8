// The engine's own memory: one mapping, cut into the engine's state and its areas.
#include <new>

#include "flow/flow.h"
#include "flow/headroom.h"
#include "flow/status.h"

namespace drover::flow {
namespace {

constexpr uint64_t kStateBytes = RoundUp(sizeof(Engine), kHugeBytes);

using kernel::Advice;

bool LocksMemory(kernel::Kernel& kernel) {
  uint64_t kilobytes = 0;
  return StatusNumber(kernel, "VmLck:", &kilobytes) && kilobytes > 0;
}

}  // namespace

uint64_t ArenaBytes(uint64_t) {
  return kStateBytes + 8 * kAreaBytes + 2 * kHugeBytes;
}

std::optional<Range> MapOwn(kernel::Kernel& kernel, uint64_t bytes) {
  // After mlockall(MCL_FUTURE) a mapping is filled when it is made, and beyond a limit that kills.
  if (LocksMemory(kernel) &&
      (FreeBelowGroupLimits(kernel, 0) < 2 * bytes || FreeOnNode(kernel, Node{-1}) < 2 * bytes))
    return std::nullopt;
  const auto mapped = kernel.Map(bytes);
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
  const auto mapped = MapOwn(kernel, ArenaBytes(0));
  if (!mapped.has_value()) return nullptr;
  const Range arena = *mapped;
  const uint64_t state = RoundUp(arena.start, kHugeBytes);
  (void)kernel.Advise({state, kStateBytes}, Advice::kNoHugePage);
  auto* engine = new (reinterpret_cast<void*>(state)) Engine(parts);
  uint64_t at = state + kStateBytes;
  for (Areas& areas : engine->areas) {
    for (uint64_t* area :
         {&areas.area_small, &areas.pool_small, &areas.area_huge, &areas.pool_huge}) {
      *area = at;
      at += kAreaBytes;
    }
    (void)kernel.Advise({areas.area_small, 2 * kAreaBytes}, Advice::kNoHugePage);
    // (Both, because they may change their roles: reuse.h.)
    (void)kernel.Advise({areas.area_huge, 2 * kAreaBytes}, Advice::kHugePage);
  }
  engine->spare_page = at;
  AddOwn(*engine, arena);
  AddOwn(*engine, stacks);
  return engine;
}

Range ArenaOf(const Engine& engine) {
  return engine.own[0];
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
