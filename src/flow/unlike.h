// Mappings that UFFDIO_MOVE refuses although they are plain read-write memory: locked ones, and
// those with a protection key. /proc/PID/maps does not show them, and smaps costs a walk of all
// page tables; so a job looks there only if something is locked, or once a batch was refused.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// At the begin of a job. A plan always looks: it has no refusals to learn from.
void StartUnlike(Engine& engine);
// After a refusal: looks, unless that was done before in this job.
void LearnUnlike(Engine& engine);
// kLocked or kProtectionKey where the mapping of this address belongs to them; else kNone.
[[nodiscard]] Why WhyUnlike(const Engine& engine, uint64_t address);

}  // namespace drover::flow
