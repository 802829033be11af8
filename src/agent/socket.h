// The agent's socket: where it stands, who may talk, and sending that never blocks. Freestanding.
#pragma once

#include <cstdint>

#include "agent/shared.h"

namespace drover::agent {

// Makes, binds (mode 0600) and listens in the first of the settings' folders that is writable.
// Returns the descriptor; negative: no folder would do, or the program is exiting.
int64_t OpenSocket(Shared& shared, int32_t pid, uint64_t nonce, char* path, uint32_t path_room);

// Accepts a caller; negative: none, or one that is neither the owner nor root (and is closed).
int64_t AcceptCaller(int door, int32_t* caller_pid, uint32_t* caller_user);

// Sends one message with at most one descriptor (negative: none). False: it was dropped.
bool SendMessage(int to, const void* message, uint32_t bytes, int descriptor);

// Receives one message and up to two descriptors (-1 where there is none). Returns its length;
// 0: the other side has gone; negative: an error number, EAGAIN without a message when not waiting.
int64_t ReceiveMessage(int from, void* message, uint32_t room, int descriptors[2], bool wait);

}  // namespace drover::agent
