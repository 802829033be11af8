#include "report/pages.h"

#include <fmt/format.h>

#include "report/words.h"

namespace drover::report {

std::string Pages(uint64_t pages) {
  return fmt::format("{:>10} pages  {:>9.1f} MiB", pages, static_cast<double>(pages) / 256);
}

std::vector<NotMoved> CausesOf(std::span<const uint64_t, flow::kWhyCount> by_why) {
  std::vector<NotMoved> causes;
  for (uint32_t i = 0; i < flow::kWhyCount; ++i) {
    if (by_why[i] == 0) continue;
    const Words words = WordsOf(static_cast<flow::Why>(i));
    causes.push_back({words.why, by_why[i], words.temporary, words.hint});
  }
  return causes;
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
