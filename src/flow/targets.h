// Target pages: fresh ones of the right size, on the right node, faulted in.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Those pages of the batch cannot have a target, for this cause; their slots are empty.
using RefuseTargets = void (*)(Batch& batch, uint64_t first, uint64_t count, Why why);

// Before the first of the batch's targets in `pool`, which is laid out like the batch's range.
void ReadyPool(Engine& engine, uint64_t pool);
// For the pages [first, first + count) of the batch, in whole folios.
void FillTargets(Engine& engine, uint64_t pool, uint64_t first, uint64_t count,
                 RefuseTargets refuse);
// Is a target's node asked for at all?
inline bool ChecksNodes(const Engine& engine) {
  return engine.job->placement.node_count > 1 && RuleHolds(Rule::kCheckTargetNode);
}
// Behind the copy of a batch that fills its targets, where nodes are asked for: of those that were
// made, whether they are on their node.
void CheckFilled(Engine& engine, uint64_t first, uint64_t count, RefuseTargets refuse);

}  // namespace drover::flow
