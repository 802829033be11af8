// What a move would do, as a table and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::report {

struct Plan {
  MoveResult result;  // "moved" stands for "would move"
  std::optional<double> seconds, window_us;
  std::string unknown;     // why there are no figures
  unsigned idle_cpus = 0;  // when the plan was made
  struct Need {
    int node = 0;
    uint64_t bytes_to_come = 0, bytes_free = 0;
  };
  std::vector<Need> needs;  // on the target nodes
  uint64_t pool_bytes = 0;  // free memory that the own path wants at any time
};

nlohmann::json PlanToJson(const Plan& plan);
std::string PlanToTable(const Plan& plan);

}  // namespace drover::report
