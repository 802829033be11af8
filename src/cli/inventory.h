// The resident memory of a process, looked at from outside: where it is, of what size and kind.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"
#include "kernel/types.h"

namespace drover::cli {

enum class MemoryKind { kHeap, kStack, kPrivate, kFile, kShared, kHugetlb, kSpecial, kCount };
inline constexpr size_t kMemoryKinds = static_cast<size_t>(MemoryKind::kCount);
const char* NameOf(MemoryKind kind);

// How the pages of a mapping can be moved.
enum class Movability { kOwnPath, kKernelPath, kNot, kCount };
inline constexpr size_t kMovabilities = static_cast<size_t>(Movability::kCount);
const char* NameOf(Movability movability);

struct PageCounts {
  std::array<uint64_t, flow::kNodesMax> on_node = {};
  uint64_t present = 0;   // zero pages not counted
  uint64_t unplaced = 0;  // gone, or of an unknown node, when it was asked
  uint64_t huge = 0;      // of those present: in whole 2 MiB pages
  uint64_t zero = 0;
  uint64_t swapped = 0;
  std::array<uint64_t, kMovabilities> movable = {};
  // Why not by the own path, as far as a look can tell: that a page is pinned only a move finds.
  std::array<uint64_t, flow::kWhyCount> why = {};
  void Add(const PageCounts& other);
};

struct MappingCounts {
  kernel::Mapping mapping;
  std::string rights, name;
  MemoryKind kind = MemoryKind::kPrivate;
  PageCounts pages;
  std::string why;  // why not by the own path; empty: it can
};

// Calls `visit` with each mapping that has pages. Its time follows the pages, not the addresses; it
// keeps nothing. kTargetGone: the process has ended meanwhile.
[[nodiscard]] std::expected<void, Error> WalkMemory(
    int pid, const std::function<void(const MappingCounts&)>& visit);

}  // namespace drover::cli
