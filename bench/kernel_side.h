// The kernel's own migration of memory of this process, to set beside drover's.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "drover/engine.h"
#include "floor.h"

namespace drover::bench {

struct KernelMove {
  std::string how;  // by which call
  uint64_t bytes = 0;
};

// All of the source, while others use it. With two nodes: move_pages(2), in one call as
// migratepages(8) makes it, to the other node. With one: small pages by MADV_COLLAPSE, which copies
// each to a huge page (Linux 6.1); huge ones the kernel has no call for (kUnavailable).
[[nodiscard]] std::expected<KernelMove, Error> MoveByKernel(const Buffers& memory, bool huge);

}  // namespace drover::bench
