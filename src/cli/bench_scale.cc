// drover bench scale: is the efficiency the same however much is moved, and drover's memory?
#include <fmt/format.h>

#include <algorithm>

#include "cli/bench_migrate.h"
#include "cli/sizes.h"

namespace drover::cli {
namespace {

struct ScaleOptions {
  bench::MigrateOptions wanted;
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<int> threads = {1};
  ShownAs shown;
};

// From 64 MiB on, by four, to 16 GiB.
std::vector<size_t> ScaleTotals() {
  std::vector<size_t> totals;
  for (size_t total = 64u << 20; total <= size_t{16} << 30; total *= 4) totals.push_back(total);
  return totals;
}

// (Highest - lowest) / middle one, of a page size and as many threads.
std::string SpreadOfEfficiency(const std::vector<nlohmann::json>& rows, const std::string& page,
                               int threads) {
  std::vector<double> efficiency, extra;
  for (const auto& row : rows)
    if (row["page"] == page && row["threads"] == threads) {
      efficiency.push_back(row["efficiency"]);
      extra.push_back(row["extra_memory_mib"]);
    }
  if (efficiency.size() < 2) return {};
  std::sort(efficiency.begin(), efficiency.end());
  return fmt::format(
      "{}, {} CPUs: efficiency {:.2f} to {:.2f}, a spread of {:.0f} %; extra memory at most {:.1f} "
      "MiB",
      page, threads, efficiency.front(), efficiency.back(),
      100 * (efficiency.back() - efficiency.front()) / efficiency[efficiency.size() / 2],
      *std::max_element(extra.begin(), extra.end()));
}

Measured MeasureScale(const ScaleOptions& options) {
  bench::MigrateOptions wanted = options.wanted;
  wanted.cases =
      bench::CasesOf(options.pages, {"fresh"}, {2u << 20}, options.threads, ScaleTotals());
  auto table = MeasureMigrations(wanted);
  if (!table.has_value()) return std::unexpected(table.error());
  table->name = "scale";
  table->title = "Efficiency and memory by how much is moved";
  for (const std::string& page : options.pages)
    for (const int threads : options.threads)
      if (const std::string note = SpreadOfEfficiency(table->rows, page, threads); !note.empty())
        table->notes.push_back(note);
  table->figure = {.title = table->title, .x = "total moved", .y = "efficiency", .curves = {}};
  table->figure.x_axis = report::Axis::kBytes, table->figure.y_axis = report::Axis::kLinear;
  for (const auto& row : table->rows)
    report::AddPoint(&table->figure, report::CellText("{page}, {threads} CPUs", row),
                     row["total_bytes"], row["efficiency"]);
  return table;
}

}  // namespace

Measured MeasureScaleFor(const ForAll& all) {
  ScaleOptions options;
  options.wanted.rounds = all.rounds;
  return MeasureScale(options);
}

void AddBenchScale(CLI::App& bench, Chosen& chosen) {
  auto* const scale =
      bench.add_subcommand("scale", "efficiency and drover's own memory, from 64 MiB to 16 GiB");
  auto options = std::make_shared<ScaleOptions>();
  scale->add_option("--page", options->pages, "page sizes: 4K, 2M")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M"}))
      ->capture_default_str();
  AddThreads(*scale, options->threads, "CPUs that all engine threads share");
  AddBufferNodes(*scale, options->wanted.nodes);
  AddRounds(*scale, options->wanted.rounds);
  AddShownAs(*scale, options->shown, "the efficiency");
  scale->callback(
      [=, &chosen] { chosen.run = [=] { return Show(MeasureScale(*options), options->shown); }; });
}

}  // namespace drover::cli
