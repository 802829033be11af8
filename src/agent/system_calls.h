// The system calls that the control thread makes beside the core's, and the trial of all of them
// under a program's seccomp filter. Freestanding.
#pragma once

#include <cstdint>

namespace drover::agent {

// True when /proc/self/status says that a seccomp filter is in force.
bool HasFilter();

// Makes each of the agent's calls once in a throw-away child, so that a filter that kills kills
// only that. Returns 0 when all are allowed, else the number of the first that is not.
uint32_t FirstForbiddenCall();

}  // namespace drover::agent
