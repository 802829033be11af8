// The machine as hwloc sees it: CPUs with their cores, caches and nodes, and what lies between the
// nodes. A recorded machine (lstopo's XML) can be read as well.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::topology {

struct Cpu {
  int id = 0;
  int node = -1;   // the nearest node; -1: none is known
  int core = -1;   // logical core number; CPUs of one core share it
  int cache = -1;  // number of its last-level cache; -1: none is known
  int speed = 0;   // kind of its core, faster ones higher; all the same where none is known
};

struct CacheDomain {
  uint64_t bytes = 0;
  int level = 0;
  std::vector<int> cpus;
};

struct MachineNode {
  int id = 0;
  uint64_t total_bytes = 0;
  std::vector<int> cpus;            // to which it is the nearest; empty: memory only (CXL)
  std::vector<uint64_t> distances;  // to each node of Machine::nodes, in their order; may be empty
};

struct Machine {
  std::string name;  // of the processor
  std::vector<MachineNode> nodes;
  std::vector<Cpu> cpus;  // those that are online and allowed to this process
  std::vector<CacheDomain> caches;
};

// `xml`: a file of lstopo; empty: this machine.
[[nodiscard]] std::expected<Machine, Error> ReadMachine(const std::string& xml = "");

// Page sizes and DMA engines, from below a root ("/").
std::vector<uint64_t> ReadHugePageSizes(const std::string& root);
struct DmaEngine {
  std::string name;  // "dma0chan3", "dsa0"
  std::string driver;
  int node = -1;
};
std::vector<DmaEngine> ReadDmaEngines(const std::string& root);

}  // namespace drover::topology
