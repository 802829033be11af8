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
  double seconds = 0;  // of the calls alone
};

// All of the source to another node by move_pages(2): a call for each thread, on its part.
[[nodiscard]] std::expected<KernelMove, Error> MovePagesByKernel(const Buffers& memory, bool huge,
                                                                 int to, int threads);

// All of the source, in small pages, to huge ones by MADV_COLLAPSE (Linux 6.1), which copies each;
// by threads that each take a part. kUnavailable: the kernel has no such call.
[[nodiscard]] std::expected<KernelMove, Error> CollapseByKernel(const Buffers& memory, int threads);

// By what there is, while others use it. With two nodes: move_pages(2), in one call as
// migratepages(8) makes it, to the other node. With one: small pages by MADV_COLLAPSE; huge ones
// the kernel has no call for (kUnavailable).
[[nodiscard]] std::expected<KernelMove, Error> MoveByKernel(const Buffers& memory, bool huge);

}  // namespace drover::bench
