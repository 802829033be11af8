#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "load.h"
#include "report.h"

namespace drover::demo {
namespace {

constexpr int kCellWidth = 12;
using Cell = std::function<std::string(const Round&)>;

std::string Row(size_t width, const std::string& name, const std::vector<std::string>& cells) {
  std::string line = fmt::format("{:<{}}", name, width);
  for (const std::string& cell : cells) line += fmt::format("{:>{}}", cell, kCellWidth);
  return line + "\n";
}

// Every reason of any round, in the order of their coming.
std::vector<std::string> ReasonsOf(const std::vector<Round>& rounds) {
  std::vector<std::string> reasons;
  for (const Round& round : rounds)
    for (const auto& one : round.report.at("not_moved")) {
      const std::string why = one.at("why");
      if (std::find(reasons.begin(), reasons.end(), why) == reasons.end()) reasons.push_back(why);
    }
  return reasons;
}

uint64_t PagesNotMoved(const Round& round, const std::string& why) {
  uint64_t pages = 0;
  for (const auto& one : round.report.at("not_moved"))
    if (one.at("why") == why) pages += one.at("pages").get<uint64_t>();
  return pages;
}

class RoundsTable {
 public:
  explicit RoundsTable(const std::vector<Round>& rounds)
      : rounds_(rounds), reasons_(ReasonsOf(rounds)) {
    for (const std::string& why : reasons_) width_ = std::max(width_, why.size() + 6);
  }

  std::string Text() {
    int number = 0;
    Add("", [&](const Round&) { return fmt::format("round {}", ++number); });
    Add("moved to node", [](const Round& round) { return round.to; });
    AddLedger();
    AddTimes();
    AddStalls();
    Add("frames seen to change",
        [](const Round& round) { return fmt::format("{:.2f} %", 100 * round.relocated_verified); });
    return text_;
  }
  size_t width() const { return width_; }

 private:
  void Add(const std::string& name, const Cell& cell) {
    std::vector<std::string> cells;
    for (const Round& round : rounds_) cells.push_back(cell(round));
    text_ += Row(width_, name, cells);
  }
  void AddPages(const std::string& name, const char* kind) {
    Add(name, [=](const Round& round) { return std::to_string(round.Pages(kind)); });
  }
  void AddLedger() {
    AddPages("pages requested", "requested");
    AddPages("  moved", "moved");
    AddPages("  already there", "already_there");
    AddPages("  gone (freed by Redis)", "gone");
    AddPages("  not moved", "not_moved");
    for (const std::string& why : reasons_)
      Add("    " + why,
          [&](const Round& round) { return std::to_string(PagesNotMoved(round, why)); });
  }
  void AddTimes() {
    Add("GB/s", [](const Round& round) {
      return fmt::format("{:.2f}", round.report.at("gb_per_s").get<double>());
    });
    Add("seconds", [](const Round& round) {
      return fmt::format("{:.3f}", round.report.at("seconds").get<double>());
    });
    for (const char* phase :
         {"collect", "prepare", "isolate", "copy", "remap", "release", "kernel"})
      Add(fmt::format("  {}", phase), [=](const Round& round) {
        return fmt::format("{:.3f}", round.report.at("phases_s").at(phase).get<double>());
      });
  }
  void AddStalls() {
    Add("stalls", [](const Round& round) {
      return std::to_string(round.report.at("stall_us").at("count").get<uint64_t>());
    });
    for (const char* percentile : {"p50", "p99", "max"})
      Add(fmt::format("  {}, us", percentile), [=](const Round& round) {
        return fmt::format("{:.0f}", round.report.at("stall_us").at(percentile).get<double>());
      });
  }

  const std::vector<Round>& rounds_;
  std::vector<std::string> reasons_;
  size_t width_ = 30;
  std::string text_;
};

std::string RedisTable(const Outcome& outcome, size_t width) {
  const std::vector<const Throughput*> phases = {&outcome.before, &outcome.during, &outcome.after};
  std::vector<std::string> rates, p99s;
  for (const Throughput* phase : phases) {
    rates.push_back(fmt::format("{:.0f}", phase->ops_per_s()));
    p99s.push_back(fmt::format("{:.3f}", phase->p99_ms));
  }
  return Row(width, "Redis", {"before", "during", "after"}) + Row(width, "GETs per second", rates) +
         Row(width, "p99 of the worst second, ms", p99s);
}

}  // namespace

std::string ToTable(const Outcome& outcome) {
  RoundsTable rounds(outcome.rounds);
  std::string text =
      fmt::format("Redis {} with {} keys of {} random bytes, moved {} times while it serves\n\n",
                  outcome.redis_version, outcome.keys, kValueBytes, outcome.rounds.size());
  text += rounds.Text() + "\n" + RedisTable(outcome, rounds.width()) + "\n";
  text += fmt::format("digest of the data: {} before, {} after: {}\n", outcome.digest_before,
                      outcome.digest_after, outcome.digest_equal() ? "equal" : "DIFFERENT");
  text += fmt::format(
      "GETs that found their key: {:.3f} %; database 1 written and flushed {} times; client "
      "errors: {}\n",
      100 * outcome.hit_share, outcome.churn_cycles, outcome.client_errors);
  return text + VerdictLine(outcome) + "\n";
}

}  // namespace drover::demo
