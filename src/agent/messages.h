// Making messages, and closing what came with them. Freestanding.
#pragma once

#include <asm/unistd.h>

#include "control/protocol.h"
#include "kernel/raw_syscall.h"

namespace drover::agent {

// Sets the length and the type of a message.
template <class Message>
Message Make(control::Type type, uint64_t job = 0) {
  Message message;
  message.header.type = type;
  message.header.length_bytes = sizeof message;
  message.header.job = job;
  return message;
}

inline void CloseAll(const int descriptors[2]) {
  for (int i = 0; i < 2; ++i)
    if (descriptors[i] >= 0) kernel::RawSyscall(__NR_close, kernel::Arg(descriptors[i]));
}

}  // namespace drover::agent
