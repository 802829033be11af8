// What the kernel tells about the registered ranges, and what drover does about it.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Reads and carries out all messages. The caller holds the move lock: reading a message lets the
// application's call go on, so reading and carrying out must be one step for the moves.
void Drain(Engine& engine);

// Is a change of the program's mappings under way? Nothing can be moved or filled till its event
// has been read and it has come to its end; every call of this kind says so, and the spare page is
// registered nowhere, so nothing is filled.
[[nodiscard]] inline bool IsChanging(Engine& engine) {
  return engine.kernel.ZeroPage(engine.spare_page) == kernel::Errno::kAgain;
}

// The body of the fault thread: waits for messages and drains them, until StopFaultThread.
void FaultThread(void* engine);
void StopFaultThread(Engine& engine);

}  // namespace drover::flow
