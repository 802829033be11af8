// What --page-size came to, for people and as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"

namespace drover::report {

std::vector<StaysSmall> SmallOf(std::span<const uint64_t, flow::kWhySmallCount> slots);
nlohmann::json GatheredToJson(const std::optional<Gathered>& gathered);  // null: not asked for
// Lines of the report of a move; empty: not asked for.
std::string GatheredToTable(const std::optional<Gathered>& gathered);

}  // namespace drover::report
