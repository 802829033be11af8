#include "flow/targets.h"

#include "flow/background.h"
#include "flow/collect.h"
#include "flow/reuse.h"
#include "flow/table.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

// A preference is no promise: pages that the kernel put on another node are given back.
void CheckNode(Engine& engine, uint64_t pool, uint64_t first, uint64_t count,
               RefuseTargets refuse) {
  Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  uint64_t asked = 0;
  for (uint64_t i = first; i < first + count; i += step)
    engine.addresses[asked++] = pool + i * kPageBytes;
  const bool known =
      engine.kernel.QueryNodes({engine.addresses, asked}, {engine.nodes, asked}) == Errno::kOk;
  for (uint64_t k = 0; k < asked; ++k) {
    if (known && engine.nodes[k] == batch.target.id) continue;
    const uint64_t i = first + k * step;
    if (pool != batch.pool || MayFreeTarget(engine))
      (void)engine.kernel.Advise({pool + i * kPageBytes, step * kPageBytes}, Advice::kDontNeed);
    refuse(batch, i, step, Why::kNoTargetMemory);
  }
}

// A huge page can only take the place of a huge page.
void CheckHuge(Engine& engine, uint64_t pool, uint64_t first, uint64_t count,
               RefuseTargets refuse) {
  for (uint64_t i = first; i < first + count; i += kPagesPerHuge) {
    const Range slot{pool + i * kPageBytes, kHugeBytes};
    if (IsAll(engine.kernel, slot, kernel::kPagePresent | kernel::kPageHuge)) continue;
    (void)engine.kernel.Advise(slot, Advice::kDontNeed);
    refuse(engine.batch, i, kPagesPerHuge, Why::kNoTargetHuge);
  }
}

void RefuseAll(Engine& engine, Range run, uint64_t first, RefuseTargets refuse) {
  refuse(engine.batch, first, run.length / kPageBytes, Why::kNoTargetMemory);
}

// Of originals that are used again some may be missing: holes, and pages that did not move. Those
// are faulted in as well, where there is room for them; where there is none, they only are refused.
// False: none of these has a target.
bool FillGaps(Engine& engine, Range run, uint64_t first, RefuseTargets refuse) {
  Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages(), count = run.length / kPageBytes;
  if (engine.kernel.ReadEntries(run.start, {engine.entries, count}) != Errno::kOk) {
    RefuseAll(engine, run, first, refuse);
    return false;
  }
  uint64_t missing = 0;
  for (uint64_t i = 0; i < count; i += step) missing += engine.entries[i].present() ? 0 : step;
  engine.result->pages_reused += count - missing;
  if (GrantTargets(engine, missing) &&
      engine.kernel.Advise(run, Advice::kPopulateWrite) == Errno::kOk)
    return true;
  for (uint64_t i = 0; i < count; i += step)
    if (!engine.entries[i].present()) refuse(batch, first + i, step, Why::kNoTargetMemory);
  return missing < count;
}

bool FaultIn(Engine& engine, Range run, uint64_t first, RefuseTargets refuse) {
  if (GrantTargets(engine, run.length / kPageBytes) &&
      engine.kernel.Advise(run, Advice::kPopulateWrite) == Errno::kOk)
    return true;
  RefuseAll(engine, run, first, refuse);
  return false;
}

}  // namespace

void ReadyPool(Engine& engine, uint64_t pool) {
  const Batch& batch = engine.batch;
  // An application's mlockall locks what it finds; a locked pool would not fit unlocked pages.
  (void)engine.kernel.Unlock({pool, batch.live.length});
  if (engine.job->placement.node_count <= 1) return;
  if (engine.job->reuse && batch.ground == Ground::kFirstAreas)
    PreferForReuse(engine, batch.target);
  else
    (void)engine.kernel.PreferNode({pool, batch.live.length}, batch.target);
}

void FillTargets(Engine& engine, uint64_t pool, uint64_t first, uint64_t count,
                 RefuseTargets refuse) {
  Batch& batch = engine.batch;
  const Range run{pool + first * kPageBytes, count * kPageBytes};
  const bool in_first_pool = pool == batch.pool;
  if (batch.fills && in_first_pool) {
    if (!engine.headroom.Grants(engine.kernel, batch.target, run.length))
      refuse(batch, first, count, Why::kNoTargetMemory);
    return;
  }
  const bool in_berth = in_first_pool && batch.ground == Ground::kBerth;
  const bool reused = in_first_pool && !in_berth && AreReused(engine, run);
  if (in_berth && engine.background->IsFilled(run, batch.huge))
    engine.result->pages_filled_ahead += count;
  else if (reused && engine.reused.whole)
    engine.result->pages_reused += count;
  else if (reused ? !FillGaps(engine, run, first, refuse) : !FaultIn(engine, run, first, refuse))
    return;
  if (batch.huge) CheckHuge(engine, pool, first, count, refuse);
  if (ChecksNodes(engine)) CheckNode(engine, pool, first, count, refuse);
}

void CheckFilled(Engine& engine, uint64_t first, uint64_t count, RefuseTargets refuse) {
  CheckNode(engine, engine.batch.pool, first, count, refuse);
}

}  // namespace drover::flow
