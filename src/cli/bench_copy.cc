// drover bench copy: the copy engines by themselves.
#include "cli/bench.h"
#include "copy.h"

namespace drover::cli {
namespace {

struct BenchCopyOptions {
  bench::CopyOptions wanted;
  ShownAs shown;
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
          {"copied_percent", 100 * row.copied_share},
          {"hardware", row.hardware}};
}

Measured MeasureCopy(const BenchCopyOptions& options) {
  const auto report = bench::RunCopy(options.wanted);
  if (!report.has_value()) return std::unexpected(report.error());
  report::Table table;
  table.name = "copy";
  table.title = "How fast the copy engines copy by themselves";
  table.legend =
      "medians; by the engine: share of the folios, the CPU copied the rest; cache: time of a pass "
      "over 1 MiB behind a batch / before it";
  table.columns = {
      {"page", "{page}"},
      {"batch", "{batch}"},
      {"migrator", "{migrator}"},
      {"threads", "{threads}"},
      {"GB/s (min to max)", "{gb_per_s:.2f} ({gb_per_s_min:.2f} to {gb_per_s_max:.2f})"},
      {"CPU s/GB", "{cpu_s_per_gb:.3f}"},
      {"by engine", "{copied_percent:.0f} %"},
      {"cache", "{cache_slowdown:.2f}"}};
  table.figure = {.title = table.title, .x = "folios in a batch", .y = "GB/s", .curves = {}};
  table.figure.x_axis = report::Axis::kPowersOfTwo;
  table.figure.y_axis = report::Axis::kLinear;
  for (const auto& row : report->rows) {
    table.rows.push_back(CopyRowToJson(row));
    report::AddPoint(&table.figure, row.page + ", " + row.migrator, static_cast<double>(row.batch),
                     row.gb_per_s);
  }
  table.skipped = report->skipped;
  return table;
}

}  // namespace

Measured MeasureCopyFor(const ForAll& all) {
  BenchCopyOptions options;
  options.wanted.rounds = all.rounds;
  return MeasureCopy(options);
}

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
  AddRounds(*copy, wanted.rounds);
  copy->add_option("--from", wanted.nodes.source, "node of the sources")
      ->check(CLI::Range(0, 1023));
  copy->add_option("--to", wanted.nodes.target, "node of the targets")->check(CLI::Range(0, 1023));
  AddShownAs(*copy, options->shown, "the speeds");
  copy->callback(
      [=, &chosen] { chosen.run = [=] { return Show(MeasureCopy(*options), options->shown); }; });
}

}  // namespace drover::cli
