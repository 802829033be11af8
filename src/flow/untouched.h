// How small pages are copied. No CPU has touched isolated originals by their addresses, nor targets
// that are just faulted in, and a first touch can be dear; what is faulted in has been zeroed for
// nothing. Which way is fastest here is tried once, on the engine's own memory.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Sets what Job::copy_through comes to here in the engine's copy functions, and returns it. Nothing
// by process_vm_readv(2) and its like below a seccomp filter, which may kill for the calls. Mover
// thread, before any batch and any copy engine.
CopyThrough ChooseCopy(Engine& engine);

// Are the targets of such a batch made as they are copied to? `engines` as the job has them: none
// that is not the CPU can do that.
[[nodiscard]] bool FillsTargets(const Engine& engine, bool huge, bool precopied);

}  // namespace drover::flow
