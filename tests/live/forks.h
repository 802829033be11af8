// Children by every way that a program has, each of which looks at known memory.
#pragma once

#include <cstdint>

namespace drover::live {

struct ForkTally {
  uint64_t children = 0;
  uint64_t wrong = 0;            // a wrong word, or a child that did not end well
  uint64_t without_mapping = 0;  // made by an inline system call in a window: SIGSEGV
};

// `rounds` times one child of each way: fork, _Fork, system, posix_spawn, syscall(SYS_clone), clone
// with a stack of its own, and an inline instruction.
ForkTally ForkEveryWay(uint64_t rounds);

}  // namespace drover::live
