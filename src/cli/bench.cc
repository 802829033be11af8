// drover bench: figures, with their floors.
#include <fmt/format.h>

#include <filesystem>

#include "carry.h"
#include "cli/command.h"
#include "cli/precopy.h"
#include "cli/sizes.h"
#include "migrate.h"

namespace drover::cli {
namespace {

struct Options {
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<int> threads = {1, 2};
  std::vector<std::string> pools = {"fresh"}, batches = {"2m"};
  std::string total = "1g", max_stall = "none";
  int rounds = 5;
  PrecopyWord precopy;
  bool check_floor = false, json = false, csv = false;
};

nlohmann::json RowToJson(const bench::MigrateRow& row, double max_stall_us) {
  return {
      {"page", row.page},
      {"pool", row.pool},
      {"side", "drover"},
      {"migrator", row.migrator},
      {"threads", row.threads},
      {"batch_bytes", row.batch_bytes},
      {"total_bytes", row.total_bytes},
      {"max_stall_us", max_stall_us > 0 ? nlohmann::json(max_stall_us) : nlohmann::json(nullptr)},
      {"rounds", row.rounds},
      {"gb_per_s", row.gb_per_s},
      {"gb_per_s_min", row.gb_per_s_min},
      {"gb_per_s_max", row.gb_per_s_max},
      {"cpu_s", row.cpu_s},
      {"copy_floor_gb_per_s", row.copy_floor_gb_per_s},
      {"fresh_floor_gb_per_s", row.fresh_floor_gb_per_s},
      {"efficiency", row.efficiency},
      {"efficiency_min", row.efficiency_min},
      {"efficiency_max", row.efficiency_max},
      {"copy_efficiency", row.copy_efficiency},
      {"windows", row.windows},
      {"windows_over_budget", row.windows_over_budget},
      {"windows_preempted", row.windows_preempted},
      {"window_p50_us", row.window_p50_us},
      {"window_p99_us", row.window_p99_us},
      {"window_max_us", row.window_max_us},
      {"phases_s",
       {{"collect", row.phases_s.collect},
        {"prepare", row.phases_s.prepare},
        {"isolate", row.phases_s.isolate},
        {"copy", row.phases_s.copy},
        {"remap", row.phases_s.remap},
        {"release", row.phases_s.release},
        {"precopy", row.phases_s.precopy}}}};
}

void PrintTable(const bench::MigrateReport& report) {
  fmt::print(
      "floors copy by {}; GB/s are medians; efficiency = floor's time / drover's, median (min to "
      "max): the fresh floor's where targets are fresh, else the copy floor's\n\n",
      report.copy_function);
  fmt::print("{:<5} {:<5} {:>7} {:>10} {:>11} {:>11} {:>8}  {:<20} {:>12}\n", "page", "pool",
             "threads", "batch", "copy floor", "fresh floor", "drover", "efficiency", "window p99");
  for (const auto& row : report.rows)
    fmt::print("{:<5} {:<5} {:>7} {:>6} KiB {:>11.2f} {:>11.2f} {:>8.2f}  {:<20} {:>9.0f} us\n",
               row.page, row.pool, row.threads, row.batch_bytes / 1024, row.copy_floor_gb_per_s,
               row.fresh_floor_gb_per_s, row.gb_per_s,
               fmt::format("{:.2f} ({:.2f} to {:.2f})", row.efficiency, row.efficiency_min,
                           row.efficiency_max),
               row.window_p99_us);
  for (const auto& skipped : report.skipped)
    fmt::print("left out: {} ({})\n", skipped.row, skipped.reason);
}

// The columns are the JSON's.
void PrintCsv(const bench::MigrateReport& report, double max_stall_us) {
  const auto print = [](const nlohmann::json& row, bool names) {
    std::string line;
    for (const auto& [name, value] : row.flatten().items()) {
      if (!line.empty()) line += ',';
      if (names)
        line += name.substr(1);  // "/phases_s/copy"
      else if (!value.is_null())
        line += value.is_string() ? value.get<std::string>() : value.dump();
    }
    fmt::print("{}\n", line);
  };
  for (const auto& row : report.rows) {
    const auto json = RowToJson(row, max_stall_us);
    if (&row == &report.rows.front()) print(json, true);
    print(json, false);
  }
}

int Migrate(const Options& options) {
  bench::MigrateOptions wanted;
  wanted.pages = options.pages;
  wanted.threads = options.threads;
  wanted.rounds = options.rounds;
  wanted.check_floor = options.check_floor;
  wanted.precopy = options.precopy.value();
  wanted.pools = options.pools;
  const auto total = ParseTotal(options.total);
  if (!total.has_value()) return Fail(total.error());
  wanted.total_bytes = *total;
  wanted.batches_bytes.clear();
  for (const std::string& word : options.batches) {
    const auto batch = ParseSize(word, kPageBytes);
    if (!batch.has_value()) return Fail(batch.error());
    wanted.batches_bytes.push_back(*batch);
  }
  const auto max_stall_us = ParseStall(options.max_stall);
  if (!max_stall_us.has_value()) return Fail(max_stall_us.error());
  wanted.max_stall_us = *max_stall_us;
  const auto report = bench::RunMigrate(wanted);
  if (!report.has_value()) return Fail(report.error());
  if (options.csv) {
    PrintCsv(*report, wanted.max_stall_us);
    return kExitDone;
  }
  if (!options.json) {
    PrintTable(*report);
    return kExitDone;
  }
  auto document = JsonHead("bench migrate");
  document["context"]["copy_function"] = report->copy_function;
  if (options.check_floor) document["context"]["floor_check"] = report->floor_check;
  document["rows"] = nlohmann::json::array();
  document["skipped"] = nlohmann::json::array();
  for (const auto& row : report->rows)
    document["rows"].push_back(RowToJson(row, wanted.max_stall_us));
  for (const auto& skipped : report->skipped)
    document["skipped"].push_back({{"row", skipped.row}, {"reason", skipped.reason}});
  PrintJson(document);
  return kExitDone;
}

struct CarryOptions {
  int rounds = 5;
  bool inside = false, json = false;
};

int Carry(const CarryOptions& options) {
  if (options.inside) {
    fmt::print("{}", bench::MeasureInside());
    return kExitDone;
  }
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto rows = bench::RunCarry(self, {"bench", "carry", "--inside"}, options.rounds);
  if (!rows.has_value()) return Fail(rows.error());
  auto document = JsonHead("bench carry");
  document["rows"] = nlohmann::json::array();
  document["skipped"] = nlohmann::json::array();
  if (!options.json)
    fmt::print("{:<30} {:>10} {:>10}  {:<22} {:>9}\n", "cost", "without", "with",
               "ratio (min to max)", "added");
  for (const auto& row : *rows) {
    document["rows"].push_back({{"what", row.what},
                                {"unit", row.unit},
                                {"rounds", options.rounds},
                                {"without", row.without},
                                {"with", row.with},
                                {"ratio", row.ratio},
                                {"ratio_min", row.ratio_min},
                                {"ratio_max", row.ratio_max},
                                {"added", row.added}});
    if (!options.json)
      fmt::print("{:<30} {:>10.2f} {:>10.2f}  {:<22} {:>9.2f} {}\n", row.what, row.without,
                 row.with,
                 fmt::format("{:.2f} ({:.2f} to {:.2f})", row.ratio, row.ratio_min, row.ratio_max),
                 row.added, row.unit);
  }
  if (options.json) PrintJson(document);
  return kExitDone;
}

void AddCarry(CLI::App& bench, Chosen& chosen) {
  auto* carry = bench.add_subcommand(
      "carry", "what a program pays for an idle agent, beside the same program without one");
  auto options = std::make_shared<CarryOptions>();
  carry->add_option("--rounds", options->rounds, "rounds, alternating between the sides")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  carry->add_flag("--inside", options->inside)->group("");  // the measured program itself
  carry->add_flag("--json", options->json, "one JSON document on stdout");
  carry->callback([=, &chosen] { chosen.run = [=] { return Carry(*options); }; });
}

}  // namespace

void AddBench(CLI::App& app, Chosen& chosen) {
  auto* bench = app.add_subcommand("bench", "measure this machine");
  bench->require_subcommand(1);
  AddCarry(*bench, chosen);
  AddBenchCopy(*bench, chosen);
  AddBenchStall(*bench, chosen);
  auto* migrate = bench->add_subcommand(
      "migrate", "how fast drover relocates memory, beside the floors of the same run");
  auto options = std::make_shared<Options>();
  migrate->add_option("--page", options->pages, "page sizes: 4K, 2M")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M"}))
      ->capture_default_str();
  migrate->add_option("--threads", options->threads, "CPUs that all engine threads share")
      ->delimiter(',')
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  migrate->add_option("--total", options->total, "bytes to move, such as 64m or 4g")
      ->capture_default_str();
  migrate
      ->add_option("--pool", options->pools,
                   "target pages: fresh; or reuse, the originals of the batch before (--reuse)")
      ->delimiter(',')
      ->check(CLI::IsMember({"fresh", "reuse"}))
      ->capture_default_str();
  migrate->add_option("--batch", options->batches, "4 KiB pages, or 64k, 2m, up to 16m")
      ->delimiter(',')
      ->capture_default_str();
  migrate->add_option("--max-stall", options->max_stall, "as for move: 200us, 2ms, none")
      ->capture_default_str();
  AddPrecopyFlag(*migrate, options->precopy);
  migrate->add_option("--rounds", options->rounds, "rounds, alternating between the sides")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  migrate->add_flag("--check-floor", options->check_floor,
                    "compare the floor with a plain loop; an error when it is 5 % slower");
  migrate->add_flag("--json", options->json, "one JSON document on stdout");
  migrate->add_flag("--csv", options->csv, "comma-separated values on stdout")->excludes("--json");
  migrate->callback([=, &chosen] { chosen.run = [=] { return Migrate(*options); }; });
}

}  // namespace drover::cli
