// The flow: collect, prepare, isolate, copy, remap, release, batch by batch.
#pragma once

#include <optional>

#include "flow/engine.h"

namespace drover::flow {

// Maps and cuts up the engine's own memory, and makes the engine in it. `stacks` is where the
// Threads in `parts` put their stacks; other own ranges are added by AddOwn. nullptr: no memory.
// The engine is never destroyed, only its memory is unmapped.
[[nodiscard]] Engine* MakeEngine(const Parts& parts, Range stacks);
void UnmapEngine(Engine& engine);
// Memory of the engine's own: untouched, not locked, not inherited by children; at `wish` where
// that is free. The caller unmaps it.
[[nodiscard]] std::optional<Range> MapOwn(kernel::Kernel& kernel, uint64_t bytes,
                                          uint64_t wish = 0);
void AddOwn(Engine& engine, Range range);
void RemoveOwn(Engine& engine, Range range);  // that was added

// One batch, whose table is filled: from prepare to release. Pages end as kRemapped, kRestored,
// kDropped, kWithdrawn or kRefused. False: the own path is over for this job (the result says why).
bool MoveBatch(Engine& engine);

// Runs one job to its end, or to the batch boundary at which the observer stops it. Blocks the
// calling thread, which becomes the mover. One at a time per engine.
void RunJob(Engine& engine, const Job& job, Observer& observer, JobResult* result);

}  // namespace drover::flow
