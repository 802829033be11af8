// drover bench copy: the copy engines by themselves.
#include <fmt/format.h>

#include "cli/command.h"
#include "copy.h"

namespace drover::cli {
namespace {

struct BenchCopyOptions {
  bench::CopyOptions wanted;
  bool json = false, csv = false;
};

nlohmann::json CopyRowToJson(const bench::CopyRow& row) {
  return {{"migrator", row.migrator},
          {"page", row.page},
          {"batch", row.batch},
          {"threads", row.threads},
          {"rounds", row.rounds},
          {"gb_per_s", row.gb_per_s},
          {"gb_per_s_min", row.gb_per_s_min},
          {"gb_per_s_max", row.gb_per_s_max},
          {"cpu_s_per_gb", row.cpu_s_per_gb},
          {"cache_slowdown", row.cache_slowdown},
          {"copied_share", row.copied_share},
          {"hardware", row.hardware}};
}

void PrintCopyTable(const bench::CopyReport& report) {
  fmt::print(
      "medians; by the engine: share of the folios, the CPU copied the rest; cache: time of a pass "
      "over 1 MiB behind a batch / before it\n\n");
  fmt::print("{:<4} {:>6}  {:<24} {:>7} {:>20} {:>10} {:>11} {:>6}\n", "page", "batch", "migrator",
             "threads", "GB/s (min to max)", "CPU s/GB", "by engine", "cache");
  for (const auto& row : report.rows)
    fmt::print(
        "{:<4} {:>6}  {:<24} {:>7} {:>20} {:>10.3f} {:>9.0f} % {:>6.2f}\n", row.page, row.batch,
        row.migrator, row.threads,
        fmt::format("{:.2f} ({:.2f} to {:.2f})", row.gb_per_s, row.gb_per_s_min, row.gb_per_s_max),
        row.cpu_s_per_gb, 100 * row.copied_share, row.cache_slowdown);
  for (const auto& skipped : report.skipped)
    fmt::print("left out: {} ({})\n", skipped.row, skipped.reason);
}

void PrintCopyCsv(const bench::CopyReport& report) {
  fmt::print(
      "migrator,page,batch,threads,rounds,gb_per_s,gb_per_s_min,gb_per_s_max,cpu_s_per_gb,"
      "cache_slowdown,copied_share,hardware\n");
  for (const auto& row : report.rows)
    fmt::print("{},{},{},{},{},{:.4f},{:.4f},{:.4f},{:.5f},{:.3f},{:.4f},{}\n", row.migrator,
               row.page, row.batch, row.threads, row.rounds, row.gb_per_s, row.gb_per_s_min,
               row.gb_per_s_max, row.cpu_s_per_gb, row.cache_slowdown, row.copied_share,
               row.hardware);
}

int BenchCopy(const BenchCopyOptions& options) {
  const auto report = bench::RunCopy(options.wanted);
  if (!report.has_value()) return Fail(report.error());
  if (options.csv) {
    PrintCopyCsv(*report);
  } else if (options.json) {
    auto document = JsonHead("bench copy");
    document["rows"] = nlohmann::json::array();
    document["skipped"] = nlohmann::json::array();
    for (const auto& row : report->rows) document["rows"].push_back(CopyRowToJson(row));
    for (const auto& skipped : report->skipped)
      document["skipped"].push_back({{"row", skipped.row}, {"reason", skipped.reason}});
    PrintJson(document);
  } else {
    PrintCopyTable(*report);
  }
  return kExitDone;
}

}  // namespace

void AddBenchCopy(CLI::App& bench, Chosen& chosen) {
  auto* copy = bench.add_subcommand(
      "copy", "how fast the copy engines copy, by page size and batch, without a migration");
  auto options = std::make_shared<BenchCopyOptions>();
  bench::CopyOptions& wanted = options->wanted;
  copy->add_option("--migrator", wanted.migrators, "copy engines, as for move")
      ->delimiter(',')
      ->capture_default_str();
  copy->add_option("--page", wanted.pages, "page sizes: 4K, 2M")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M"}))
      ->capture_default_str();
  copy->add_option("--batch", wanted.batches, "folios in a batch, 1 to 8192")
      ->delimiter(',')
      ->check(CLI::Range(1, 8192))
      ->capture_default_str();
  copy->add_option("--rounds", wanted.rounds, "rounds, alternating between the engines")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  copy->add_option("--from", wanted.nodes.source, "node of the sources")
      ->check(CLI::Range(0, 1023));
  copy->add_option("--to", wanted.nodes.target, "node of the targets")->check(CLI::Range(0, 1023));
  copy->add_flag("--json", options->json, "one JSON document on stdout");
  copy->add_flag("--csv", options->csv, "comma-separated values on stdout")->excludes("--json");
  copy->callback([=, &chosen] { chosen.run = [=] { return BenchCopy(*options); }; });
}

}  // namespace drover::cli
