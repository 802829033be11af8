// Known text that comes into pages from elsewhere, and what goes out of them, looked at there.
#pragma once

#include <cstdint>
#include <vector>

#include "chaos/operations.h"

namespace drover::chaos {

// As many pages as an operation can have, each with what Slice::Write would write.
struct Source {
  static constexpr uint64_t kPages = 64;
  explicit Source(uint64_t first_seed);
  uint64_t seed;
  std::vector<char> text;
};
const Source& TheSource();

// A file with the source's text, opened with these flags beside O_RDONLY. -1: not to be had.
int SourceFile(int flags);
// The target's pages hold the source's text now, as far as they reach.
void SetToSource(Target& target);

// Of this thread: room for Source::kPages pages, aligned to one.
char* Aside();
// `copy` is what stood in the target's pages; where it is not, the target is marked wrong.
void CheckCopy(Target& target, const char* copy);

}  // namespace drover::chaos
