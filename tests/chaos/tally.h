// What the storm has done so far: a file that the storm writes and the one who started it reads,
// also when the storm has been killed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "chaos/injector.h"

namespace drover::chaos {

inline constexpr uint32_t kOperationsMax = 64;

struct OperationTally {
  std::atomic<uint64_t> done;
  std::atomic<uint64_t> inside;  // began while one of its pages was away
  std::atomic<uint64_t> before;  // a page was away when it had ended, and none when it began
  std::atomic<uint64_t> after;   // began when a page had just come back
  std::atomic<uint64_t> unable;  // the kernel or the machine cannot do it
};

struct Tally {
  OperationTally operations[kOperationsMax];
  std::atomic<uint64_t> pages_checked;
  std::atomic<uint64_t> wrong;
  Injection injection;
  std::atomic<uint32_t> ready;
  char first_wrong[512];  // in words
};

// Of the file of this name, made if it is not there; never unmapped. nullptr: it cannot be.
Tally* MapTally(const std::string& path);

}  // namespace drover::chaos
