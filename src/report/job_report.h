// What a move of several processes did: a row for each, and all together.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "report/move_report.h"

namespace drover::report {

struct ProcessRow {
  int pid = 0;
  std::string name;
  std::optional<MoveResult> result;  // none: it was not moved at all
  Seen seen = {};
  std::string error;  // then, or why its move ended before its end
  int exit_code = 0;
};

// `together`: of all rows; its percentiles are of all waits and windows.
nlohmann::json JobToJson(const std::vector<ProcessRow>& rows, const MoveResult& together);
std::string JobToTable(const std::vector<ProcessRow>& rows, const MoveResult& together);

}  // namespace drover::report
