#include "report/job_report.h"

#include <fmt/format.h>

namespace drover::report {
namespace {

// Of all moved pages: the share that was seen to move, where that is known of each process.
Seen SeenOf(const std::vector<ProcessRow>& rows) {
  double seen = 0, moved = 0;
  uint64_t back = 0;
  bool seen_known = true, back_known = true;
  for (const ProcessRow& row : rows) {
    if (!row.result.has_value() || row.result->pages_moved == 0) continue;
    const auto pages = static_cast<double>(row.result->pages_moved);
    moved += pages;
    seen += pages * row.seen.relocated_verified.value_or(0);
    back += row.seen.moved_back.value_or(0);
    seen_known = seen_known && row.seen.relocated_verified.has_value();
    back_known = back_known && row.seen.moved_back.has_value();
  }
  Seen all;
  if (seen_known && moved > 0) all.relocated_verified = seen / moved;
  if (back_known && moved > 0) all.moved_back = back;
  return all;
}

}  // namespace

nlohmann::json JobToJson(const std::vector<ProcessRow>& rows, const MoveResult& together) {
  nlohmann::json json = MoveToJson(together, SeenOf(rows));
  json["processes"] = nlohmann::json::array();
  for (const ProcessRow& row : rows) {
    nlohmann::json process = {
        {"pid", row.pid}, {"name", row.name}, {"exit_code", row.exit_code}, {"error", nullptr}};
    if (!row.error.empty()) process["error"] = row.error;
    if (row.result.has_value()) process.update(MoveToJson(*row.result, row.seen));
    json["processes"].push_back(process);
  }
  return json;
}

std::string JobToTable(const std::vector<ProcessRow>& rows, const MoveResult& together) {
  std::string text =
      fmt::format("{:>8} {:<16}{:>10}{:>14}{:>8}{:>11}{:>7}{:>11}{:>11}\n", "PID", "NAME", "moved",
                  "already there", "gone", "not moved", "GB/s", "stall p99", "max us");
  for (const ProcessRow& row : rows) {
    text += fmt::format("{:>8} {:<16}", row.pid, row.name);
    if (row.result.has_value()) {
      const MoveResult& result = *row.result;
      text += fmt::format("{:>10}{:>14}{:>8}{:>11}{:>7.2f}{:>11.0f}{:>11.0f}", result.pages_moved,
                          result.pages_already_there, result.pages_gone, result.pages_not_moved,
                          result.gb_per_s(), result.stall.p99_us, result.stall.max_us);
    }
    text += "\n";
    if (!row.error.empty()) text += fmt::format("{:>8} {}\n", "", row.error);
    if (row.result.has_value() && !row.result->own_path_refused.empty())
      text += fmt::format("{:>8} own path not taken: {}\n", "", row.result->own_path_refused);
  }
  return text + "\n" + MoveToTable(together, SeenOf(rows));
}

}  // namespace drover::report
