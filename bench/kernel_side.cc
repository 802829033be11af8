#include "kernel_side.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "kernel/types.h"
#include "topology/nodes.h"

namespace drover::bench {
namespace {

constexpr int kCollapse = 25;  // MADV_COLLAPSE

std::expected<KernelMove, Error> ByMovePages(const Buffers& memory, bool huge,
                                             const topology::Nodes& nodes) {
  const size_t step = huge ? kHugeBytes : kPageBytes;
  std::vector<void*> pages;
  for (size_t at = 0; at < memory.source_bytes; at += step) pages.push_back(memory.source + at);
  std::vector<int> status(pages.size(), -ENOENT);
  const auto look = [&] {
    return syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, status.data(), 0) == 0;
  };
  if (!look())
    return std::unexpected(Error{Error::Kind::kFailed, "move_pages tells no nodes of pages"});
  const int from = status[0];
  const int to =
      from == nodes.with_memory[0].id ? nodes.with_memory[1].id : nodes.with_memory[0].id;
  const auto there = static_cast<uint64_t>(std::count(status.begin(), status.end(), to));
  const std::vector<int> targets(pages.size(), to);
  syscall(SYS_move_pages, 0, pages.size(), pages.data(), targets.data(), status.data(),
          MPOL_MF_MOVE);
  (void)look();
  const auto moved = static_cast<uint64_t>(std::count(status.begin(), status.end(), to));
  return KernelMove{"move_pages", (moved - std::min(moved, there)) * step};
}

std::expected<KernelMove, Error> ByCollapse(const Buffers& memory) {
  madvise(memory.source, memory.source_bytes, MADV_HUGEPAGE);
  KernelMove move{"MADV_COLLAPSE", 0};
  for (size_t at = 0; at < memory.source_bytes; at += kHugeBytes) {
    if (madvise(memory.source + at, kHugeBytes, kCollapse) == 0)
      move.bytes += kHugeBytes;
    else if (errno == EINVAL)
      return std::unexpected(Error{Error::Kind::kUnavailable,
                                   "one memory node, and this kernel has no MADV_COLLAPSE"});
  }
  return move;
}

}  // namespace

std::expected<KernelMove, Error> MoveByKernel(const Buffers& memory, bool huge) {
  const auto nodes = topology::ReadNodes("/");
  const auto move = nodes.with_memory.size() > 1 ? ByMovePages(memory, huge, nodes)
                    : huge                       ? std::unexpected(Error{Error::Kind::kUnavailable,
                                                   "one memory node: the kernel has no call that "
                                                                         "moves huge pages of a process there"})
                                                 : ByCollapse(memory);
  // A run that moved nothing is no figure.
  if (move.has_value() && move->bytes < memory.source_bytes / 2)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("the kernel moved {} of {} bytes by {}",
                                                     move->bytes, memory.source_bytes, move->how)});
  return move;
}

}  // namespace drover::bench
