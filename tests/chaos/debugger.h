// What every debugger does first.
#pragma once

#include <sys/types.h>

namespace drover::chaos {

// Stops a thread that this one has seized (PTRACE_SEIZE). Signals that stop it on the way are
// passed on: one that is kept back would be lost.
void StopSeized(pid_t thread);

}  // namespace drover::chaos
