// Where the helpers of `threads:N` are put.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "topology/machine.h"

namespace drover::topology {

// The best CPUs for `count` helpers that copy to `node`, best first; fewer where fewer are both
// idle and allowed. CPUs of the node itself, or of those nearest to it, come first; among them the
// helpers are spread over cache domains, whole idle cores come before the second thread of a core,
// and fast cores before slow ones. `node` negative: no CPU is nearer than another. A pure function.
std::vector<int> PlaceHelpers(const Machine& machine, const std::vector<int>& idle,
                              const std::vector<int>& allowed, int node, unsigned count);

// What each CPU has done, by /proc/stat below a root.
struct Ticks {
  uint64_t busy = 0, all = 0;
};
std::map<int, Ticks> ReadTicks(const std::string& root);

// CPUs that did (almost) nothing for kIdleSampleMs, by /proc/stat below a root ("/"). Sleeps so
// long.
inline constexpr unsigned kIdleSampleMs = 50;
std::vector<int> FindIdleCpus(const std::string& root);

// On which CPUs a process may run, by /proc/PID/status below a root. Empty: not to be read.
std::vector<int> AllowedCpus(const std::string& root, int pid);

}  // namespace drover::topology
