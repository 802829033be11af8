// Filling and closing the batch's table.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

struct BatchPlace {
  Range live;
  bool huge = false;
  Node target;
  uint64_t area = 0, pool = 0;  // of the same length as `live`
  bool for_helpers = false;     // in the first areas: may the migrator's helpers copy there
};

inline bool HelpersHoldAddresses(const Engine& engine) {
  return engine.helpers != nullptr && engine.helpers->HoldsAddresses();
}

// A helper that was late may have touched what was free by then.
inline void TakeFirstAreasBack(Engine& engine) {
  const Areas& areas = engine.areas[0];
  for (const uint64_t area : {areas.area_small, areas.pool_small, areas.area_huge, areas.pool_huge})
    (void)engine.kernel.Advise({area, kAreaBytes}, kernel::Advice::kDontNeed);
  engine.first_areas_held = false;
}

// In the engine's own areas: as `live` stands in its slots of huge pages, so that there is one page
// table on each side.
inline BatchPlace OwnPlaceFor(Engine& engine, Range live, bool huge, Node target) {
  const bool held = HelpersHoldAddresses(engine);
  if (engine.first_areas_held && !held) TakeFirstAreasBack(engine);
  engine.first_areas_held = held;
  const Areas& areas = engine.areas[held ? 1 : 0];
  const uint64_t shift = live.start % kHugeBytes;
  return {.live = live,
          .huge = huge,
          .target = target,
          .area = (huge ? areas.area_huge : areas.area_small) + shift,
          .pool = (huge ? areas.pool_huge : areas.pool_small) + shift,
          .for_helpers = !held};
}

// From now on events find the pages for which wanted(i) says true.
template <class Wanted>
void FillTable(Engine& engine, const BatchPlace& place, const Wanted& wanted) {
  Batch& batch = engine.batch;
  engine.lock.Lock();
  batch.page_count = place.live.length / kPageBytes;
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    batch.state[i] = wanted(i) ? PageState::kWanted : PageState::kNotWanted;
    batch.why[i] = Why::kNone;
    batch.address[i] = place.live.start + i * kPageBytes;
  }
  batch.live = place.live;
  batch.huge = place.huge;
  batch.target = place.target;
  batch.area = place.area;
  batch.pool = place.pool;
  batch.for_helpers = place.for_helpers;
  batch.refusals = batch.refusals_before = batch.agains = 0;
  batch.any_away = false;
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
