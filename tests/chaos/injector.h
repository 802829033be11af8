// Lets calls of drover's threads in this process fail now and then: a process that is told of each
// call by a seccomp listener answers some in the kernel's stead. The agent is the released one.
#pragma once

#include <atomic>
#include <cstdint>

namespace drover::chaos {

// Lies in memory that the process and its injector share.
struct Injection {
  std::atomic<uint64_t> one_in;  // of so many calls one fails; 0: none by chance
  std::atomic<uint64_t> nth;     // call number so many, since `calls` was 0, fails; 0: none
  std::atomic<uint64_t> choice;  // with so manieth of the errors that are plausible for it
  std::atomic<uint64_t> calls;   // that have been seen
  std::atomic<uint64_t> injected;
};

// What may fail: the ioctls of userfaultfd that change memory or what is watched, and move_pages.
// For the rest of the process's life; its children inherit it. Linux 5.7, x86-64. False: it cannot
// be had, and nothing has changed. Call it while no other thread of the program runs.
bool StartInjector(Injection& shared, uint64_t seed);

}  // namespace drover::chaos
