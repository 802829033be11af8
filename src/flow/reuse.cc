#include "flow/reuse.h"

#include <utility>

namespace drover::flow {
namespace {

using kernel::Advice;

void Free(Engine& engine, uint64_t start, uint64_t end) {
  if (start < end) (void)engine.kernel.Advise({start, end - start}, Advice::kDontNeed);
}

}  // namespace

uint64_t PoolForReuse(Engine& engine, Range live, bool huge, Node target, uint64_t pool) {
  Range& pages = engine.reused.pages;
  if (pages.empty()) return pool;
  // (Small pages need not stand in their page tables as those in the live range do.)
  if (engine.reused.huge != huge || engine.reused.node != target ||
      (live.length > pages.length && !engine.job->exchange.on)) {
    FreeReused(engine);
    return pool;
  }
  Free(engine, pages.start + live.length, pages.end());
  engine.reused.whole = engine.reused.whole && live.length <= pages.length;
  pages.length = live.length;
  return pages.start;
}

void FreeReused(Engine& engine) {
  Range& pages = engine.reused.pages;
  Free(engine, pages.start, pages.end());
  pages = {};
}

bool AreReused(const Engine& engine, Range targets) {
  return !engine.reused.pages.empty() && engine.reused.pages.Contains(targets);
}

void PreferForReuse(Engine& engine, Node target) {
  if (engine.reused.preferred == target) return;
  const Areas& areas = engine.areas[0];
  for (const uint64_t area : {areas.area_small, areas.pool_small, areas.area_huge, areas.pool_huge})
    (void)engine.kernel.PreferNode({area, kAreaBytes}, target);
  engine.reused.preferred = target;
}

bool KeepForReuse(Engine& engine, Range area, Range pool, bool held) {
  const Batch& batch = engine.batch;
  engine.reused.pages = {};
  if (!engine.job->reuse || batch.ground != Ground::kFirstAreas || held) return false;
  // Of several nodes they are no targets.
  if (engine.job->placement.node_count > 1 && batch.source.id < 0) return false;
  uint64_t moved = 0;
  for (uint64_t i = 0; i < area.length / kPageBytes; ++i)
    moved += batch.state[i] == PageState::kRemapped;
  if (moved == 0) return false;
  const bool whole = moved == area.length / kPageBytes;
  if (!whole) Free(engine, pool.start, pool.end());
  Areas& areas = engine.areas[0];
  if (batch.huge)
    std::swap(areas.area_huge, areas.pool_huge);
  else
    std::swap(areas.area_small, areas.pool_small);
  Reused& reused = engine.reused;
  reused.pages = area;
  reused.huge = batch.huge;
  reused.whole = whole;
  reused.node = batch.source;
  return true;
}

}  // namespace drover::flow
