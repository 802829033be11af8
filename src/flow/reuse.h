// Job::reuse: the originals of one batch are the targets of the next one. Saves faulting in and
// freeing, and has to be asked for: the kernel may still read or write an original by a reference
// that nobody else sees (MSG_ZEROCOPY, vmsplice, a late writer).
//
// Mover thread. Freestanding.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Where the targets of the next batch lie, of pages like these: on such originals where there are
// some for them, else in `pool`. Others are freed.
[[nodiscard]] uint64_t PoolForReuse(Engine& engine, Range live, bool huge, Node target,
                                    uint64_t pool);
void FreeReused(Engine& engine);
// Are these targets such originals? Where Reused::whole does not say so, some may be missing.
[[nodiscard]] bool AreReused(const Engine& engine, Range targets);

// So many fresh pages, on the batch's target node, may be faulted in: because they are free, or
// because the job has given as many back there.
[[nodiscard]] bool GrantTargets(Engine& engine, uint64_t pages);
// In front of a batch: originals in its pool for which it has no use go back to their node.
void FreeUnwanted(Engine& engine);

// Fresh pages of the first areas come from there. All of them alike, because a preference for a
// part makes a mapping of its own, and a MOVE must lie in one.
void PreferForReuse(Engine& engine, Node target);

// Behind a batch in areas of the engine's: the first ones change their roles. False: nothing is to
// be used again, because the job does not want it, or a copy engine may still touch it (`held`).
[[nodiscard]] bool KeepForReuse(Engine& engine, Range area, Range pool, bool held);

}  // namespace drover::flow
