// What a move did, as a table and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "drover/engine.h"

namespace drover::report {

// What was seen from outside, beside what the engine says.
struct Seen {
  std::optional<double> relocated_verified;  // share of moved pages whose frame was seen to change
  std::optional<uint64_t> moved_back;        // found elsewhere than on their target at the end
};

nlohmann::json MoveToJson(const MoveResult& result, const Seen& seen);
std::string MoveToTable(const MoveResult& result, const Seen& seen);

}  // namespace drover::report
