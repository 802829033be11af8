// What several reports say in the same words.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"

namespace drover::report {

template <class T>
nlohmann::json OrNull(const std::optional<T>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

// "      1234 pages        4.8 MiB"
std::string Pages(uint64_t pages);
// In words: how many pages there are for each flow::Why.
std::vector<NotMoved> CausesOf(std::span<const uint64_t, flow::kWhyCount> by_why);
nlohmann::json NotMovedToJson(const std::vector<NotMoved>& causes);
std::string NotMovedToTable(const std::vector<NotMoved>& causes);

}  // namespace drover::report
