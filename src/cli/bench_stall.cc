// drover bench stall: what a program notices of a move.
#include <fmt/format.h>

#include "cli/bench.h"
#include "cli/precopy.h"
#include "cli/sizes.h"
#include "stall.h"

namespace drover::cli {
namespace {

struct BenchStallOptions {
  bench::StallOptions wanted;
  std::vector<std::string> max_stalls = {"100us", "200us", "500us", "2ms"};
  std::string total = "1g";
  PrecopyWord precopy;
  ShownAs shown;
};

nlohmann::json StallRowToJson(const bench::StallRow& row) {
  nlohmann::json json = {
      {"side", row.side},
      {"page", row.page},
      {"how", row.how.empty() ? nlohmann::json(nullptr) : nlohmann::json(row.how)},
      {"max_stall_us", nullptr},
      {"probe_threads", row.probe_threads},
      {"rounds", row.rounds},
      {"seconds", row.seconds},
      {"accesses", row.accesses},
      {"probe_p50_us", row.probe_p50_us},
      {"probe_p99_us", row.probe_p99_us},
      {"probe_p999_us", row.probe_p999_us},
      {"probe_max_us", row.probe_max_us},
      {"probe_stalled", row.stalled},
      {"probe_stalled_p50_us", row.probe_stalled_p50_us},
      {"probe_stalled_p99_us", row.probe_stalled_p99_us},
      {"probe_unexplained", row.unexplained},
      {"probe_wrong_words", row.wrong_words},
      {"drover_waits", row.waits},
      {"drover_p50_us", row.drover_p50_us},
      {"drover_p99_us", row.drover_p99_us},
      {"drover_max_us", row.drover_max_us},
      {"windows", row.windows},
      {"windows_over_budget", row.windows_over_budget},
      {"windows_preempted", row.windows_preempted},
      {"over_budget_pages", row.over_budget_pages},
      {"smallest_max_stall_us", row.smallest_max_stall_us},
      {"gb_per_s", row.gb_per_s}};
  if (row.max_stall_us > 0) json["max_stall_us"] = row.max_stall_us;
  return json;
}

// How long the slowest of so many accesses took: a curve for each row.
report::Figure Drawn(const std::vector<bench::StallRow>& rows) {
  report::Figure figure{.title = "Accesses of a program while its memory moves",
                        .x = "accesses, of which one took longer",
                        .y = "us",
                        .curves = {}};
  for (const auto& row : rows) {
    const std::string budget =
        row.max_stall_us > 0 ? fmt::format("{:.0f} us", row.max_stall_us) : "no budget";
    report::Curve curve{fmt::format("{}, {}, {}", row.page, row.side, budget), {}};
    double accesses = 1;
    for (const double us : row.probe_tail_us) curve.points.emplace_back(accesses *= 2, us);
    if (!curve.points.empty()) figure.curves.push_back(curve);
  }
  return figure;
}

report::Table StallTable(const bench::StallReport& report) {
  report::Table table;
  table.name = "stall";
  table.title = "What a program notices of a move";
  table.legend = fmt::format(
      "times in us; stalled: accesses of the probe that met a window on their page; unexplained: "
      "longer than {:.0f} us without one; over: windows longer than the budget, of those that were "
      "not preempted",
      bench::kLongUs);
  table.columns = {{"page", "{page}"},
                   {"budget", "{max_stall_us:.0f}"},
                   {"side", "{side}"},
                   {"GB/s", "{gb_per_s:.2f}"},
                   {"p99.9", "{probe_p999_us:.1f}"},
                   {"stalled p50/99", "{probe_stalled_p50_us:.0f}/{probe_stalled_p99_us:.0f}"},
                   {"drover p50/99", "{drover_p50_us:.0f}/{drover_p99_us:.0f}"},
                   {"unexpl.", "{probe_unexplained}"},
                   {"windows, over", "{windows}, {windows_over_budget}"},
                   {"preempted", "{windows_preempted}"},
                   {"left", "{over_budget_pages}"}};
  for (const auto& row : report.rows) table.rows.push_back(StallRowToJson(row));
  table.skipped = report.skipped;
  table.figure = Drawn(report.rows);
  return table;
}

Measured MeasureStall(const BenchStallOptions& options) {
  bench::StallOptions wanted = options.wanted;
  wanted.precopy = options.precopy.value();
  wanted.max_stalls_us.clear();
  for (const std::string& text : options.max_stalls) {
    const auto us = ParseStall(text);
    if (!us.has_value()) return std::unexpected(us.error());
    wanted.max_stalls_us.push_back(*us);
  }
  const auto total = ParseTotal(options.total);
  if (!total.has_value()) return std::unexpected(total.error());
  wanted.total_bytes = *total;
  const auto report = bench::RunStall(wanted, SayStep);
  if (!report.has_value()) return std::unexpected(report.error());
  uint64_t wrong = 0;
  for (const auto& row : report->rows) wrong += row.wrong_words;
  if (wrong == 0) return StallTable(*report);
  return std::unexpected(
      Error{Error::Kind::kFailed, fmt::format("the probe has read {} wrong words", wrong)});
}

}  // namespace

Measured MeasureStallFor(const ForAll& all) {
  BenchStallOptions options;
  options.wanted.rounds = std::min(all.rounds, 3);  // (each is many accesses)
  options.wanted.sides = {"drover", "kernel", "none"};
  options.total = all.total;
  return MeasureStall(options);
}

void AddBenchStall(CLI::App& bench, Chosen& chosen) {
  auto* stall = bench.add_subcommand(
      "stall", "what a program notices of a move: a probe beside drover's own account");
  auto options = std::make_shared<BenchStallOptions>();
  bench::StallOptions& wanted = options->wanted;
  stall->add_option("--max-stall", options->max_stalls, "budgets, as for move")
      ->delimiter(',')
      ->capture_default_str();
  stall->add_option("--page", wanted.pages, "page sizes: 4K, 2M")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M"}))
      ->capture_default_str();
  stall
      ->add_option("--side", wanted.sides,
                   "drover; kernel: its own migration, by move_pages(2) where there are two nodes, "
                   "else by MADV_COLLAPSE (4K alone); none: the probe alone")
      ->delimiter(',')
      ->check(CLI::IsMember({"drover", "kernel", "none"}))
      ->capture_default_str();
  stall->add_option("--probe-threads", wanted.probe_threads, "threads of the probe")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  stall->add_option("--total", options->total, "bytes under the probe, all of which are moved")
      ->capture_default_str();
  stall->add_option("--migrator", wanted.migrator, "copy engines, as for move")
      ->capture_default_str();
  stall->add_flag("--over-budget", wanted.over_budget, "as for move");
  AddPrecopyFlag(*stall, options->precopy);
  AddRounds(*stall, wanted.rounds);
  AddShownAs(*stall, options->shown, "the distribution of access times");
  stall->footer("A CPU for the engine is what a budget takes: leave one idle beside the probe.");
  stall->callback(
      [=, &chosen] { chosen.run = [=] { return Show(MeasureStall(*options), options->shown); }; });
}

}  // namespace drover::cli
