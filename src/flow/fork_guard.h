// fork without fork events: the engine hears of no child, so a child must never have a range in
// which pages are away. Calls of fork wait at the gate; against a child that is made by an inline
// system call the range is MADV_DONTFORK while it is registered: the child then has no mapping
// there and gets SIGSEGV, but never reads zeros.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Looks up which mappings the application itself has set to MADV_DONTFORK: they need no guard and
// must keep their setting. Called before a job, and between batches when the house has heard of a
// change. False: too many, or it cannot be read (own_path_trouble says so).
[[nodiscard]] bool FindDontFork(Engine& engine);

// Around the registration of the batch's range; what has become of its mappings meanwhile is
// unguarded range by range.
[[nodiscard]] kernel::Errno GuardFromForks(Engine& engine);
void UnguardFromForks(Engine& engine, Range range);

}  // namespace drover::flow
