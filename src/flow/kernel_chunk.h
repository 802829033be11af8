// How many folios the kernel path has in hand at a time: each move_pages(2) call has a cost of its
// own (every CPU empties its lists of pages first), and what that is depends on the machine. Some
// sizes are tried, and the one that was fastest by page is kept. Freestanding.
#pragma once

#include <cstdint>

#include "flow/limits.h"

namespace drover::flow {

class KernelChunk {
 public:
  uint32_t folios() const { return kSizes[at_]; }
  // So many have been moved, of so many pages in all.
  void Note(uint32_t folios, uint64_t pages, uint64_t took_ns) {
    if (found_ || folios < kSizes[at_]) return;
    const uint64_t by_page = took_ns / pages;
    if (by_page < best_ns_) best_ns_ = by_page, best_ = at_;
    if (++tries_ < kTriesEach) return;
    tries_ = 0;
    if (++at_ < kCount) return;
    at_ = best_;
    found_ = true;
  }

 private:
  static constexpr uint32_t kSizes[] = {512, 1024, 2048, 4096};
  static constexpr uint32_t kCount = sizeof kSizes / sizeof kSizes[0], kTriesEach = 2;
  static_assert(kSizes[kCount - 1] == kKernelChunkFolios);

  uint32_t at_ = 0, best_ = 0, tries_ = 0;
  uint64_t best_ns_ = UINT64_MAX;
  bool found_ = false;
};

}  // namespace drover::flow
