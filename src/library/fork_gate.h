// Without the right to fork events: fork() of this program waits for the engine's batch boundary.
#pragma once

#include "flow/gate.h"

namespace drover::library {

// From now on, until CloseForkGate, fork() passes through `gate`. One at a time: false, another
// engine has it.
[[nodiscard]] bool OpenForkGate(flow::Gate* gate);
void CloseForkGate(flow::Gate* gate);

}  // namespace drover::library
