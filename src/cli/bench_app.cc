// drover bench app: what programs notice of it that their memory moves.
#include <fmt/format.h>

#include <filesystem>

#include "app.h"
#include "cli/bench.h"
#include "cli/sizes.h"

namespace drover::cli {
namespace {

struct BenchAppOptions {
  bench::AppOptions wanted;
  std::string total = "256m";
  ShownAs shown;
};

nlohmann::json AppRowToJson(const bench::AppRow& row) {
  nlohmann::json json = {
      {"program", row.program},
      {"side", row.side},
      {"max_stall", nullptr},
      {"how", row.how.empty() ? nlohmann::json(nullptr) : nlohmann::json(row.how)},
      {"total_bytes", row.total_bytes},
      {"rounds", row.rounds},
      {"gb_moved", row.gb_moved.median}};
  if (!row.max_stall.empty()) json["max_stall"] = row.max_stall;
  AddSpread("per_s", row.per_s, &json);
  AddSpread("share", row.share, &json);
  if (!row.has_share)
    for (const char* const key : {"share", "share_min", "share_max"}) json[key] = nullptr;
  AddSpread("p50_us", row.p50_us, &json);
  AddSpread("p99_us", row.p99_us, &json);
  AddSpread("p999_us", row.p999_us, &json);
  return json;
}

report::Table AppTable(const bench::AppReport& report) {
  report::Table table;
  table.name = "app";
  table.title = "What programs notice of it that their memory moves";
  table.legend =
      "loop: accesses to random words; redis: requests of 20 clients. Medians of the rounds; share "
      "(min to max): of what the program does in that round where nothing is moved";
  table.columns = {{"program", "{program}"},
                   {"moved by", "{side}"},
                   {"max stall", "{max_stall}"},
                   {"how", "{how}"},
                   {"GB moved", "{gb_moved:.2f}"},
                   {"a second", "{per_s:.0f}"},
                   {"share", "{share:.2f} ({share_min:.2f} to {share_max:.2f})"},
                   {"p50 us", "{p50_us:.2f}"},
                   {"p99 us", "{p99_us:.1f}"},
                   {"p99.9 us", "{p999_us:.1f}"}};
  for (const auto& row : report.rows) table.rows.push_back(AppRowToJson(row));
  table.skipped = report.skipped;
  table.figure = {.title = table.title, .x = "one of so many took longer", .y = "us", .curves = {}};
  for (const auto& row : report.rows) {
    const std::string name = fmt::format("{}, {} {}", row.program, row.side, row.max_stall);
    report::AddPoint(&table.figure, name, 2, row.p50_us.median);
    report::AddPoint(&table.figure, name, 100, row.p99_us.median);
    report::AddPoint(&table.figure, name, 1000, row.p999_us.median);
  }
  return table;
}

Measured MeasureApp(const BenchAppOptions& options) {
  bench::AppOptions wanted = options.wanted;
  const auto total = ParseTotal(options.total);
  if (!total.has_value()) return std::unexpected(total.error());
  for (const std::string& max_stall : wanted.max_stalls)
    if (const auto us = ParseStall(max_stall); !us.has_value()) return std::unexpected(us.error());
  wanted.total_bytes = *total;
  wanted.drover = std::filesystem::read_symlink("/proc/self/exe");
  const auto report = bench::RunApp(wanted, SayStep);
  if (!report.has_value()) return std::unexpected(report.error());
  return AppTable(*report);
}

void AddAppLoop(CLI::App& bench, Chosen& chosen) {
  auto* const loop = bench.add_subcommand("app-loop", "")->group("");  // bench app starts it
  struct Loop {
    size_t total_bytes = 0;
    double seconds = 0;
    std::string ready;
  };
  auto options = std::make_shared<Loop>();
  loop->add_option("--total", options->total_bytes)->required();
  loop->add_option("--seconds", options->seconds)->required();
  loop->add_option("--ready", options->ready)->required();
  loop->callback([=, &chosen] {
    chosen.run = [=] {
      return bench::RunAppLoop(options->total_bytes, options->seconds, options->ready);
    };
  });
}

}  // namespace

Measured MeasureAppFor(const ForAll& all) {
  BenchAppOptions options;
  options.wanted.rounds = std::min(all.rounds, 3);  // (each is many seconds)
  options.total = all.total;
  return MeasureApp(options);
}

void AddBenchApp(CLI::App& bench, Chosen& chosen) {
  AddAppLoop(bench, chosen);
  auto* const app = bench.add_subcommand(
      "app", "what programs notice: a loop and a Redis, moved by drover, by the kernel, by nobody");
  auto options = std::make_shared<BenchAppOptions>();
  bench::AppOptions& wanted = options->wanted;
  app->add_option(
         "--program", wanted.programs,
         "loop: touches random words, and times each; redis-get, redis-set: a Redis with 20 "
         "clients (takes redis-server and redis-benchmark)")
      ->delimiter(',')
      ->check(CLI::IsMember({"loop", "redis-get", "redis-set"}))
      ->capture_default_str();
  app->add_option(
         "--side", wanted.sides,
         "drover; kernel: by migrate_pages(2) where there are two nodes, else by MADV_COLLAPSE, "
         "which finds nothing to do a second time; none: nothing is moved")
      ->delimiter(',')
      ->check(CLI::IsMember({"drover", "kernel", "none"}))
      ->capture_default_str();
  app->add_option("--max-stall", wanted.max_stalls, "budgets of drover's side, as for move")
      ->delimiter(',')
      ->capture_default_str();
  app->add_option("--total", options->total, "memory of the program")->capture_default_str();
  app->add_option("--passes", wanted.passes,
                  "how often its memory is moved in a measurement; 0: on and on")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app->add_option("--seconds", wanted.seconds, "of each measurement")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  AddRounds(*app, wanted.rounds);
  AddShownAs(*app, options->shown, "how long the slowest of so many took");
  app->footer(
      "The programs have drover's agent in them on every side, so that they are alike. One pass "
      "is\n"
      "the same job for both sides; with --passes 0 drover moves all the time.");
  app->callback(
      [=, &chosen] { chosen.run = [=] { return Show(MeasureApp(*options), options->shown); }; });
}

}  // namespace drover::cli
