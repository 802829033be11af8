#include "vm/kernels_account.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace drover::vm {

std::vector<int> NodesOf(int pid, PageRange range) {
  std::vector<void*> addresses;
  for (uint64_t i = 0; i < range.pages(); ++i)
    addresses.push_back(reinterpret_cast<void*>(range.start + i * 4096));
  std::vector<int> nodes(addresses.size(), -1);
  if (syscall(SYS_move_pages, pid, addresses.size(), addresses.data(), nullptr, nodes.data(), 0) !=
      0)
    nodes.clear();
  return nodes;
}

PagesByNode Count(const std::vector<int>& nodes) {
  PagesByNode pages;
  for (const int node : nodes) ++pages[node];
  return pages;
}

PagesByNode NumaMaps(int pid, PageRange range) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/numa_maps");
  PagesByNode pages;
  for (std::string line; std::getline(file, line);) {
    if (std::strtoull(line.c_str(), nullptr, 16) != range.start) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) {  // N0=12 N1=4
      int node = 0;
      unsigned long count = 0;
      if (std::sscanf(word.c_str(), "N%d=%lu", &node, &count) == 2) pages[node] += count;
    }
  }
  return pages;
}

uint64_t HugePages(int pid, PageRange range) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps");
  bool ours = false;
  for (std::string line; std::getline(file, line);) {
    unsigned long first = 0, last = 0, kilobytes = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) ours = first == range.start;
    if (ours && std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &kilobytes) == 1)
      return kilobytes / 2048;
  }
  return 0;
}

uint64_t FreeBytesOnNode(int node) {
  std::ifstream file("/sys/devices/system/node/node" + std::to_string(node) + "/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long kilobytes = 0;
    if (std::sscanf(line.c_str(), "Node %*d MemFree: %lu kB", &kilobytes) == 1)
      return uint64_t{kilobytes} << 10;
  }
  return 0;
}

}  // namespace drover::vm
