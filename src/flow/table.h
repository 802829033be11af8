// Filling and closing the batch's table.
#pragma once

#include "flow/background.h"
#include "flow/reuse.h"
#include "flow/runs.h"

namespace drover::flow {

struct BatchPlace {
  Range live;
  bool huge = false;
  Node target, source;
  uint64_t area = 0, pool = 0;  // of the same length as `live`
  uint64_t other_pool = 0;      // for targets in place of those that a late copy engine has
  Ground ground = Ground::kForCpuAlone;
  bool alone = false;      // with no helpers, and not in a berth
  bool fills = false;      // targets are made as they are copied to
  bool precopied = false;  // copied ahead of the window
};

// Has it let go of all that it had? Then it has left, and may be taken out of the registry.
inline bool Settle(Engine& engine, Holder& holder) {
  if (!holder.entered) return true;
  if (holder.late && holder.engine->Poll(0)) holder.late = false;  // its answer counts no more
  if (holder.late || holder.engine->HoldsAddresses()) return false;
  holder.entered = false;
  engine.registry.Leave(holder.kind);
  return true;
}

// May a copy engine still read or write in the first areas?
inline bool EnginesHoldAddresses(Engine& engine) {
  bool any = false;
  for (uint32_t i = 0; i < engine.slot_count; ++i)
    any = !Settle(engine, engine.slots[i].holder) || any;
  uint32_t still = 0;
  for (uint32_t i = 0; i < engine.stuck_count; ++i)
    if (!Settle(engine, engine.stuck[i])) engine.stuck[still++] = engine.stuck[i];
  engine.stuck_count = still;
  return any || still > 0;
}

// While the engine's own memory is registered, freeing it is an event, and whoever frees waits
// until it has been read: for ever, where the fault thread has ended. False: it could not be ended.
[[nodiscard]] inline bool UnwatchOwn(Engine& engine, Range range) {
  for (uint32_t tries = 0; tries < kUnregisterTriesMax; ++tries)
    if (engine.kernel.Unregister(range) == kernel::Errno::kOk) return true;
  return false;
}

// Behind the last copy, before anything of the pool is freed. False: it could not be ended.
[[nodiscard]] inline bool UnwatchPool(Engine& engine) {
  Batch& batch = engine.batch;
  if (batch.pool_watched) batch.pool_watched = !UnwatchOwn(engine, {batch.pool, batch.live.length});
  return !batch.pool_watched;
}

// In the window, where a target is given up.
[[nodiscard]] inline bool MayFreeTarget(Engine& engine) {
  return !RuleHolds(Rule::kUnwatchPool) || UnwatchPool(engine);
}

// An engine that was late may have touched what was free by then.
inline void TakeFirstAreasBack(Engine& engine) {
  const Areas& areas = engine.areas[0];
  for (const uint64_t area : {areas.area_small, areas.pool_small, areas.area_huge, areas.pool_huge})
    (void)engine.kernel.Advise({area, kAreaBytes}, kernel::Advice::kDontNeed);
  if (engine.background != nullptr) engine.background->TakeBack();
  engine.first_areas_held = false;
}

// In areas of the engine's own, which are the batch's until FreeAreas: as `live` stands in its
// slots of huge pages, so that there is one page table on each side (but where helpers make
// targets, background.cc). `in_berth`: in one of the background's, if there is one.
inline BatchPlace OwnPlaceFor(Engine& engine, Range live, bool huge, Node target, bool in_berth) {
  const bool held = EnginesHoldAddresses(engine);
  if (engine.first_areas_held && !held) TakeFirstAreasBack(engine);
  engine.first_areas_held = held;
  const Areas* berth = !held && in_berth && engine.background != nullptr
                           ? engine.background->Take(huge, target)
                           : nullptr;
  const Areas& areas = berth != nullptr ? *berth : engine.areas[held ? 1 : 0];
  const Areas& others = engine.areas[1];
  const uint64_t shift = live.start % kHugeBytes;
  const uint64_t pool =
      PoolForReuse(engine, live, huge, target, (huge ? areas.pool_huge : areas.pool_small) + shift);
  return {.live = live,
          .huge = huge,
          .target = target,
          .source = {},
          .area = (huge ? areas.area_huge : areas.area_small) + shift,
          .pool = pool,
          .other_pool = held ? 0 : (huge ? others.pool_huge : others.pool_small) + shift,
          .ground = berth != nullptr ? Ground::kBerth
                    : held           ? Ground::kForCpuAlone
                                     : Ground::kFirstAreas};
}

// From now on events find the pages for which wanted(i) says true.
template <class Wanted>
void FillTable(Engine& engine, const BatchPlace& place, const Wanted& wanted) {
  Batch& batch = engine.batch;
  engine.lock.Lock();
  batch.page_count = place.live.length / kPageBytes;
  for (uint64_t i = 0; i < batch.page_count; ++i)
    batch.state[i] = wanted(i) ? PageState::kWanted : PageState::kNotWanted;
  for (uint64_t i = 0; i < batch.page_count; ++i)
    batch.address[i] = place.live.start + i * kPageBytes;
  SetRun(batch.why, 0, batch.page_count, Why::kNone);
  SetRun(batch.side, 0, batch.page_count, Side::kFirst);
  SetRun(batch.copied_by, 0, batch.page_count, Batch::kByCpu);
  batch.live = place.live;
  batch.huge = place.huge;
  batch.target = place.target;
  batch.source = place.source;
  batch.area = place.area;
  batch.pool = place.pool;
  batch.other_pool = place.other_pool;
  batch.ground = place.ground;
  batch.alone = place.alone;
  batch.fills = place.fills;
  batch.pool_watched = false;
  batch.window = {};
  batch.precopied = place.precopied;
  batch.changed = 0;
  batch.refusals = batch.refusals_before = batch.agains = 0;
  batch.any_away = batch.has_others = false;
  engine.lock.Unlock();
}

// From now on no event finds a page of this batch; what became of each page stays in the table.
inline void CloseTable(Engine& engine) {
  engine.lock.Lock();
  engine.batch.live = {};
  engine.batch.page_count = 0;
  engine.batch.followed_count = 0;
  engine.batch.follows_more = false;
  engine.lock.Unlock();
}

}  // namespace drover::flow
