// The phases of one batch, in the order in which flow.cc calls them. Each works on engine.batch.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// prepare: faults in the pool for every wanted page, on the target node, within the limits. Pages
// that get no target are refused here.
void Prepare(Engine& engine);

// precopy: where the batch is so marked, every wanted page into its target while the program goes
// on (precopy.h). False: all of it changes so fast that it is left for the budget.
[[nodiscard]] bool CopyAhead(Engine& engine);

// isolate, first half: registers live range and area, then looks at the pages again (only now can
// no new huge zero page appear, and every later change is told by an event) and sorts out what
// would refuse. False: nothing is registered, and nothing of this batch may be isolated.
[[nodiscard]] bool OpenBatch(Engine& engine);
// isolate, second half: move-out. From here on the window is open.
void Isolate(Engine& engine);

// copy: every isolated folio into its target, by the job's copy engines, and by the CPU where none
// of them has marked it. Where an engine is late its folios get other targets.
void Copy(Engine& engine);
// Behind the remap: who copied what has moved.
void TallyCopies(Engine& engine);

// remap: move-in, the commit point of each page; closes the window.
void Remap(Engine& engine);

// release: ends the registrations and frees what is left in area and pool.
void Release(Engine& engine);

}  // namespace drover::flow
