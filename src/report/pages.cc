#include "report/pages.h"

#include <fmt/format.h>

namespace drover::report {

std::string Pages(uint64_t pages) {
  return fmt::format("{:>10} pages  {:>9.1f} MiB", pages, static_cast<double>(pages) / 256);
}

nlohmann::json NotMovedToJson(const std::vector<NotMoved>& causes) {
  nlohmann::json list = nlohmann::json::array();
  for (const NotMoved& cause : causes)
    list.push_back({{"why", cause.why},
                    {"pages", cause.pages},
                    {"temporary", cause.temporary},
                    {"hint", cause.hint}});
  return list;
}

std::string NotMovedToTable(const std::vector<NotMoved>& causes) {
  std::string text;
  for (const NotMoved& cause : causes)
    text += fmt::format("  {:>10}  {}{}\n              {}\n", cause.pages, cause.why,
                        cause.temporary ? " (temporary)" : "", cause.hint);
  return text;
}

}  // namespace drover::report
