#include "flow/reuse.h"

#include <utility>

namespace drover::flow {
namespace {

using kernel::Advice;

void Free(Engine& engine, uint64_t start, uint64_t end) {
  if (start < end) (void)engine.kernel.Advise({start, end - start}, Advice::kDontNeed);
}

// nullptr: not by this job.
uint64_t* GivenBackOn(Engine& engine, Node node) {
  const Exchange& exchange = engine.job->exchange;
  for (const int side : {0, 1})
    if (exchange.on && node.id == exchange.to[side]) return &engine.reused.given_back[side];
  return nullptr;
}

void NoteGivenBack(Engine& engine, Node node, uint64_t pages) {
  if (uint64_t* const given_back = GivenBackOn(engine, node); given_back != nullptr)
    *given_back += pages;
}

// Originals that are there in [start, end) of the pages that are to be used again.
void GiveBack(Engine& engine, uint64_t start, uint64_t end) {
  Reused& reused = engine.reused;
  if (start >= end) return;
  const uint64_t count = (end - start) / kPageBytes;
  uint64_t present = 0;
  if (engine.job->exchange.on &&
      engine.kernel.ReadEntries(start, {engine.entries, count}) == kernel::Errno::kOk)
    for (uint64_t i = 0; i < count; ++i) present += engine.entries[i].present();
  Free(engine, start, end);
  reused.present -= present < reused.present ? present : reused.present;
  NoteGivenBack(engine, reused.node, present);
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
  GiveBack(engine, pages.start + live.length, pages.end());
  engine.reused.whole = engine.reused.whole && live.length <= pages.length;
  pages.length = live.length;
  return pages.start;
}

bool GrantTargets(Engine& engine, uint64_t pages) {
  uint64_t* const given_back = GivenBackOn(engine, engine.batch.target);
  const uint64_t covered = given_back == nullptr ? 0 : *given_back < pages ? *given_back : pages;
  if (pages > covered &&
      !engine.headroom.Grants(engine.kernel, engine.batch.target, (pages - covered) * kPageBytes))
    return false;
  if (given_back != nullptr) *given_back -= covered;
  return true;
}

void FreeUnwanted(Engine& engine) {
  const Batch& batch = engine.batch;
  if (!engine.job->exchange.on || engine.reused.pages.empty() ||
      batch.pool != engine.reused.pages.start)
    return;
  for (uint64_t i = 0; i < batch.page_count;) {
    uint64_t end = i;
    while (end < batch.page_count && batch.state[end] != PageState::kWanted) ++end;
    GiveBack(engine, batch.pool + i * kPageBytes, batch.pool + end * kPageBytes);
    i = end > i ? end : i + 1;
  }
}

void FreeReused(Engine& engine) {
  Range& pages = engine.reused.pages;
  GiveBack(engine, pages.start, pages.end());
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
  Reused& reused = engine.reused;
  reused.pages = {};
  if (!engine.job->reuse || held) return false;
  const uint64_t pages = area.length / kPageBytes;
  uint64_t moved = 0;
  for (uint64_t i = 0; i < pages; ++i) moved += batch.state[i] == PageState::kRemapped;
  // Of several nodes they are no targets.
  const bool on_several = engine.job->placement.node_count > 1 && batch.source.id < 0;
  if (moved == 0 || on_several || batch.ground != Ground::kFirstAreas) {
    NoteGivenBack(engine, batch.source, moved);
    return false;
  }
  if (moved < pages) Free(engine, pool.start, pool.end());
  Areas& areas = engine.areas[0];
  if (batch.huge)
    std::swap(areas.area_huge, areas.pool_huge);
  else
    std::swap(areas.area_small, areas.pool_small);
  reused.pages = area;
  reused.huge = batch.huge;
  reused.whole = moved == pages;
  reused.present = moved;
  reused.node = batch.source;
  return true;
}

}  // namespace drover::flow
