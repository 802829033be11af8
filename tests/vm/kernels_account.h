// Where another process's pages are, by the kernel's own account and by no code of drover's.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace drover::vm {

struct PageRange {
  uint64_t start = 0, bytes = 0;
  uint64_t pages() const { return bytes / 4096; }
};

using PagesByNode = std::map<int, uint64_t>;

// The node of each page, as move_pages(2) answers it; a negative errno for a page that is not
// there.
std::vector<int> NodesOf(int pid, PageRange range);
PagesByNode Count(const std::vector<int>& nodes);
// Of the mapping that starts where the range does, from /proc/PID/numa_maps.
PagesByNode NumaMaps(int pid, PageRange range);
// AnonHugePages of the mapping that starts where the range does, from /proc/PID/smaps.
uint64_t HugePages(int pid, PageRange range);
uint64_t FreeBytesOnNode(int node);

}  // namespace drover::vm
