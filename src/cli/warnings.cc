#include "cli/warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "topology/nodes.h"
#include "topology/process_status.h"

namespace drover::cli {
namespace {

std::set<int> TargetsOf(const flow::Placement& placement) {
  std::set<int> targets;
  for (const int16_t target : placement.target_of)
    if (target >= 0) targets.insert(target);
  for (uint32_t i = 0; i < placement.spread_count; ++i) targets.insert(placement.spread[i]);
  return targets;
}

bool LacksOne(const std::vector<int>& allowed, const std::set<int>& targets, int* missing) {
  for (const int target : targets)
    if (std::find(allowed.begin(), allowed.end(), target) == allowed.end()) {
      *missing = target;
      return true;
    }
  return false;
}

// The nodes that the process's cpuset lets it have memory on.
std::vector<int> AllowedNodes(const std::string& process) {
  std::vector<int> nodes;
  if (!topology::ParseIdList(topology::StatusWord(process, "Mems_allowed_list:"), &nodes))
    return {};
  return nodes;
}

// Mappings with a policy that binds them to other nodes ("7f.. bind:0 anon=12 ...").
uint64_t MappingsBoundElsewhere(const std::string& process, const std::set<int>& targets) {
  std::ifstream maps(process + "/numa_maps");
  uint64_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    std::string address, policy;
    std::vector<int> nodes;
    int missing = 0;
    if (!(words >> address >> policy) || !policy.starts_with("bind")) continue;
    const size_t colon = policy.rfind(':');  // also bind=static:0
    if (colon != std::string::npos && topology::ParseIdList(policy.substr(colon + 1), &nodes))
      count += LacksOne(nodes, targets, &missing);
  }
  return count;
}

}  // namespace

std::vector<std::string> WarningsFor(const std::string& root, int pid,
                                     const flow::Placement& placement) {
  std::vector<std::string> warnings;
  if (placement.same) return warnings;
  const std::set<int> targets = TargetsOf(placement);
  const std::string process = fmt::format("{}/proc/{}", root, pid);
  int on = 0, missing = 0;
  if (std::ifstream(root + "/proc/sys/kernel/numa_balancing") >> on && on != 0)
    warnings.push_back(
        "kernel.numa_balancing is on and may move pages back; `sysctl kernel.numa_balancing=0` "
        "turns it off");
  const std::vector<int> allowed = AllowedNodes(process);
  if (!allowed.empty() && LacksOne(allowed, targets, &missing))
    warnings.push_back(fmt::format(
        "the cpuset of process {} has no node {}, so no page can come there; add it to cpuset.mems "
        "of its control group",
        pid, missing));
  if (const uint64_t count = MappingsBoundElsewhere(process, targets); count > 0)
    warnings.push_back(fmt::format(
        "{} mappings of process {} are bound to other nodes by a policy (mbind): what it frees and "
        "touches again comes back there; start it without --membind",
        count, pid));
  return warnings;
}

}  // namespace drover::cli
