#include "kernel_side.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <vector>

#include "kernel/types.h"
#include "measure.h"
#include "topology/nodes.h"

namespace drover::bench {
namespace {

constexpr int kCollapse = 25;  // MADV_COLLAPSE
constexpr int kCollapseTries = 5;

// The nodes of pages; false: the kernel tells none.
bool LookUp(std::vector<void*>& pages, std::vector<int>* status) {
  return syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, status->data(), 0) == 0;
}

}  // namespace

std::expected<KernelMove, Error> MovePagesByKernel(const Buffers& memory, bool huge, int to,
                                                   int threads) {
  const size_t step = huge ? kHugeBytes : kPageBytes;
  std::vector<void*> pages;
  for (size_t at = 0; at < memory.source_bytes; at += step) pages.push_back(memory.source + at);
  std::vector<int> status(pages.size(), -ENOENT);
  if (!LookUp(pages, &status))
    return std::unexpected(Error{Error::Kind::kFailed, "move_pages tells no nodes of pages"});
  const auto there = static_cast<uint64_t>(std::count(status.begin(), status.end(), to));
  const std::vector<int> targets(pages.size(), to);
  const double seconds = InParts(pages.size(), threads, [&](size_t first, size_t last) {
    syscall(SYS_move_pages, 0, last - first, pages.data() + first, targets.data() + first,
            status.data() + first, MPOL_MF_MOVE);
  });
  (void)LookUp(pages, &status);
  const auto moved = static_cast<uint64_t>(std::count(status.begin(), status.end(), to));
  return KernelMove{"move_pages", (moved - std::min(moved, there)) * step, seconds};
}

std::expected<KernelMove, Error> CollapseByKernel(const Buffers& memory, int threads) {
  madvise(memory.source, memory.source_bytes, MADV_HUGEPAGE);
  std::atomic<uint64_t> bytes = 0;
  std::atomic<bool> no_such_call = false;
  const auto collapse = [&](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i) {
      int error = EAGAIN;  // "temporary": a page was busy
      for (int tries = 0; tries < kCollapseTries && error == EAGAIN; ++tries)
        error = madvise(memory.source + i * kHugeBytes, kHugeBytes, kCollapse) == 0 ? 0 : errno;
      if (error == 0) bytes += kHugeBytes;
      if (error == EINVAL) no_such_call = true;
    }
  };
  const double seconds = InParts(memory.source_bytes / kHugeBytes, threads, collapse);
  if (no_such_call)
    return std::unexpected(Error{Error::Kind::kUnavailable, "this kernel has no MADV_COLLAPSE"});
  return KernelMove{"MADV_COLLAPSE", bytes, seconds};
}

std::expected<KernelMove, Error> MoveByKernel(const Buffers& memory, bool huge) {
  const auto nodes = topology::ReadNodes("/");
  std::expected<KernelMove, Error> move;
  if (nodes.with_memory.size() > 1) {
    std::vector<void*> first = {memory.source};
    std::vector<int> at = {-ENOENT};
    (void)LookUp(first, &at);
    const int here = nodes.with_memory[0].id, there = nodes.with_memory[1].id;
    move = MovePagesByKernel(memory, huge, at[0] == here ? there : here, 1);
  } else if (huge) {
    move = std::unexpected(
        Error{Error::Kind::kUnavailable,
              "one memory node: the kernel has no call that moves huge pages of a process there"});
  } else {
    move = CollapseByKernel(memory, 1);
  }
  // A run that moved nothing is no figure.
  if (move.has_value() && move->bytes < memory.source_bytes / 2)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("the kernel moved {} of {} bytes by {}",
                                                     move->bytes, memory.source_bytes, move->how)});
  return move;
}

}  // namespace drover::bench
