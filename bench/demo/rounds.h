// The rounds of moving: where to, the move itself by `drover move`, and what was seen of it from
// outside.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace drover::demo {

struct Round {
  std::string to;
  nlohmann::json report;  // drover's own
  // Share of the pages present before and after whose frame changed, by the demo's own look.
  double relocated_verified = 0;

  uint64_t Pages(const std::string& kind) const { return report.at("pages_" + kind); }
  double ShareMoved() const;
};

// Of the process, by the kernel's own account (numa_maps).
uint64_t PagesOnNode(pid_t pid, int node);

// `same` for each round on one node; else to and fro between the first two nodes with memory,
// beginning with the one where less of the process is.
std::vector<std::string> TargetsOf(pid_t pid, int rounds);

// Throws with drover's message when the move did not run to its end.
Round RunRound(const std::string& drover, pid_t pid, const std::string& to,
               const std::string& migrator);

}  // namespace drover::demo
