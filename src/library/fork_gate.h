// Without the right to fork events: fork() of this program waits for the engine's batch boundary.
#pragma once

#include "flow/gate.h"

namespace drover::library {

// The gate through which fork() passes from now on until CloseForkGate. It is never freed: a fork
// may stand in it when the engine goes. nullptr: another engine has it.
[[nodiscard]] flow::Gate* OpenForkGate();
void CloseForkGate();

}  // namespace drover::library
