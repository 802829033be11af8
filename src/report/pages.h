// What several reports say in the same words.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::report {

template <class T>
nlohmann::json OrNull(const std::optional<T>& value) {
  return value.has_value() ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

// "      1234 pages        4.8 MiB"
std::string Pages(uint64_t pages);
nlohmann::json NotMovedToJson(const std::vector<NotMoved>& causes);
std::string NotMovedToTable(const std::vector<NotMoved>& causes);

}  // namespace drover::report
