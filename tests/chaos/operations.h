// What a program may do with its memory while it is moved: one function each.
#pragma once

#include <cstdint>
#include <span>

#include "chaos/random.h"
#include "chaos/slice.h"

namespace drover::chaos {

// Windows that each operation has to meet in a run of a minute or more.
inline constexpr uint64_t kWindowsNeeded = 20;

// The pages of an operation. All have content, in whatever state, when it begins.
struct Target {
  Slice& slice;
  uint64_t first, count;
  Random& random;
  // Set where what the operation itself has seen is not what must be there.
  bool wrong = false;
  int error = 0;  // of the call that then failed; 0: a page was not as it must be

  char* start() const { return slice.at(first); }
  uint64_t bytes() const { return count * kPage; }
};

struct Operation {
  const char* name;
  // False: this kernel or machine cannot do it; nothing has changed.
  bool (*run)(Target& target);
  // Of all operations that are drawn, one in so many is done; costly ones seldom.
  uint64_t one_in = 1;
};

// A child that is waited for: does it exit with 0? Not where none was made (below 0).
bool EndsRight(long child);

// Four families, a file each.
std::span<const Operation> MappingOperations();
std::span<const Operation> TransferOperations();
std::span<const Operation> ProcessOperations();
std::span<const Operation> OutsideOperations();

}  // namespace drover::chaos
