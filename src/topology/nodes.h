// The machine's memory nodes, from /sys/devices/system/node below a given root, so that recorded
// machines can be read as well.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace drover::topology {

struct NodeInfo {
  int id = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;
};

class Nodes {
 public:
  std::vector<NodeInfo> with_memory;  // rising by id; never empty (a kernel without NUMA: node 0)
  std::vector<int> all;               // every node, also those without memory

  bool HasMemory(int id) const;
  bool Exists(int id) const;
  const NodeInfo* Find(int id) const;
  // Highest node number + 1.
  uint32_t id_limit() const;
  // "0,2-3"
  std::string MemoryList() const;
};

// `root` is "/" on the machine itself.
Nodes ReadNodes(const std::string& root);

// A list in the kernel's and numactl's form, "0-1,3" -> {0, 1, 3}; false: not one.
[[nodiscard]] bool ParseIdList(const std::string& text, std::vector<int>* ids);
// The way back; `ids` rise.
std::string FormatIdList(const std::vector<int>& ids);

}  // namespace drover::topology
