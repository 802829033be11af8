// drover bench rfc1, rfc2 and mt: drover's speed in the layout of the tables that were published of
// the kernel's, with those beside. Other machines: the shape can be compared, not the figures.
#include <fmt/format.h>

#include <span>

#include "cli/bench_migrate.h"
#include "cli/published.h"
#include "cli/sizes.h"

namespace drover::cli {
namespace {

constexpr size_t kFolioBytes = 2u << 20;
constexpr const char* kOthersMachines =
    "GB/s; above: published, of other machines (the shape can be compared, not the figures); "
    "below: this machine, medians";

struct PublishedOptions {
  bench::MigrateOptions wanted;
  std::string total = "1g";
  std::vector<int> threads = {1, 2, 4, 8, 16}, channels = {1, 2, 4, 8};
  std::vector<int> folios;
  std::vector<std::string> batches = {"2m", "16m"};
  ShownAs shown;
};

// Rows of both sides, and drover's left out; "engine" says who copied, "folios" how many.
std::expected<report::Table, Error> Beside(std::vector<nlohmann::json> published,
                                           const bench::MigrateOptions& wanted) {
  auto table = MeasureMigrations(wanted);
  if (!table.has_value()) return table;
  const std::vector<nlohmann::json> measured = std::move(table->rows);
  table->rows = std::move(published);
  table->columns.clear();
  table->legend = kOthersMachines;
  for (nlohmann::json row : measured) {
    row["engine"] = fmt::format("drover, {}", row["migrator"].get<std::string>());
    row["folios"] = row["total_bytes"].get<size_t>() / (row["page"] == "2M" ? kFolioBytes : 4096);
    table->rows.push_back(row);
    if (row["kernel_how"].is_null()) continue;
    nlohmann::json kernel = {{"side", "kernel"}};
    for (const char* const key :
         {"page", "threads", "batch_bytes", "total_bytes", "folios", "rounds"})
      kernel[key] = row[key];
    kernel["engine"] = fmt::format("kernel here, {} CPUs", row["threads"].get<int>());
    kernel["gb_per_s"] = row["kernel_gb_per_s"];
    table->rows.push_back(kernel);
  }
  return table;
}

// A curve for each text of `curve`, published or of this machine; `x_key`: "bytes" is the page
// size.
void DrawSpeeds(report::Table* table, const std::string& curve, const std::string& x_key,
                const std::string& x) {
  table->figure = {.title = table->title, .x = x, .y = "GB/s", .curves = {}};
  table->figure.x_axis = x_key == "bytes" ? report::Axis::kBytes : report::Axis::kPowersOfTwo;
  for (const auto& row : table->rows) {
    const double at = x_key == "bytes"
                          ? static_cast<double>(*ParseSize(row["page"].get<std::string>()))
                          : row[x_key].get<double>();
    report::AddPoint(&table->figure,
                     report::CellText(curve, row) +
                         (row["side"] == "published" ? " (published)" : std::string()),
                     at, row["gb_per_s"].get<double>());
  }
}

Measured ByFolioSize(const PublishedOptions& options) {
  bench::MigrateOptions wanted = options.wanted;
  const auto total = ParseTotal(options.total);
  if (!total.has_value()) return std::unexpected(total.error());
  for (const char* const page : {"4K", "2M"}) {
    for (const int threads : options.threads)
      wanted.cases.push_back({.page = page,
                              .migrator = bench::MigratorOf(threads),
                              .threads = threads,
                              .total_bytes = *total});
    // (Its channels and the mover share what there is.)
    for (const int channels : options.channels)
      wanted.cases.push_back({.page = page,
                              .migrator = fmt::format("channels:{}", channels),
                              .threads = 2,
                              .total_bytes = *total});
  }
  auto table = Beside(RfcFolioSizes(), wanted);
  if (!table.has_value()) return std::unexpected(table.error());
  table->name = "rfc1";
  table->title = "Speed by folio size, and by what copies";
  table->pivots = {{"", "{engine}", "{page}", "{gb_per_s:.2f}", ""}};
  for (const char* const page : {"16K", "64K", "256K", "1M"})
    table->skipped.push_back({page, "drover has no page size between 4K and 2M"});
  DrawSpeeds(&*table, "{engine}", "bytes", "folio size");
  return table;
}

std::vector<size_t> BytesOf(const std::vector<int>& folios) {
  std::vector<size_t> totals;
  for (const int count : folios) totals.push_back(static_cast<size_t>(count) * kFolioBytes);
  return totals;
}

Measured ByFolios(const PublishedOptions& options) {
  bench::MigrateOptions wanted = options.wanted;
  for (const std::string& word : options.batches) {
    const auto batch = ParseSize(word, kPageBytes);
    if (!batch.has_value()) return std::unexpected(batch.error());
    for (const bench::MigrateCase& of :
         bench::CasesOf({"2M"}, {"fresh"}, {*batch}, options.threads, BytesOf(options.folios)))
      if (*batch <= std::max(of.total_bytes, kFolioBytes)) wanted.cases.push_back(of);
  }
  auto table = Beside(RfcTotals(), wanted);
  if (!table.has_value()) return std::unexpected(table.error());
  table->name = "rfc2";
  table->title = "Speed by how many folios of 2 MiB are moved";
  table->legend += "; a line for each batch";
  table->pivots = {{"", "{engine}, batch {batch_bytes:size}", "{folios}", "{gb_per_s:.2f}", ""}};
  DrawSpeeds(&*table, "{engine}, batch {batch_bytes:size}", "folios", "folios of 2 MiB");
  return table;
}

Measured ByThreads(const PublishedOptions& options) {
  bench::MigrateOptions wanted = options.wanted;
  wanted.cases =
      bench::CasesOf({"2M"}, {"fresh"}, {kFolioBytes}, options.threads, BytesOf(options.folios));
  auto table = Beside(MultiThreaded(), wanted);
  if (!table.has_value()) return std::unexpected(table.error());
  table->name = "mt";
  table->title = "Speed by how many pages are moved, and threads";
  table->skipped.push_back({"64K", "this machine's base page is 4 KiB"});
  const char* const line = "{page} x {folios}";
  table->pivots = {{"published", line, "{engine}", "{gb_per_s:.2f}", "published"},
                   {"here", line, "{engine}", "{gb_per_s:.2f}", "drover"},
                   {"here", line, "{engine}", "{gb_per_s:.2f}", "kernel"}};
  DrawSpeeds(&*table, "{page}, {engine}", "folios", "pages");
  return table;
}

constexpr const char* kCpus = "CPUs that all engine threads share";
constexpr int kRfcFolios[] = {1, 8, 16, 32, 64, 256, 512, 1024, 2048, 8192};
constexpr int kThreadedFolios[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024};

void AddFolios(CLI::App& command, PublishedOptions& options, std::span<const int> folios) {
  options.folios.assign(folios.begin(), folios.end());
  command.add_option("--folios", options.folios, "how many folios of 2 MiB are moved")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

void AddRest(CLI::App& command, const std::shared_ptr<PublishedOptions>& options,
             Measured (*run)(const PublishedOptions&), Chosen& chosen) {
  AddBufferNodes(command, options->wanted.nodes);
  AddRounds(command, options->wanted.rounds);
  AddShownAs(command, options->shown, "the speeds");
  command.callback(
      [=, &chosen] { chosen.run = [=] { return Show(run(*options), options->shown); }; });
}

}  // namespace

Measured MeasureFolioSizesFor(const ForAll& all) {
  PublishedOptions options;
  options.wanted.rounds = all.rounds;
  options.total = all.total;
  return ByFolioSize(options);
}

Measured MeasureTotalsFor(const ForAll& all) {
  PublishedOptions options;
  options.wanted.rounds = all.rounds;
  options.threads = {1, 2};
  options.folios.assign(std::begin(kRfcFolios), std::end(kRfcFolios));
  return ByFolios(options);
}

Measured MeasureThreadsFor(const ForAll& all) {
  PublishedOptions options;
  options.wanted.rounds = all.rounds;
  options.folios.assign(std::begin(kThreadedFolios), std::end(kThreadedFolios));
  return ByThreads(options);
}

void AddBenchPublished(CLI::App& bench, Chosen& chosen) {
  auto* const rfc1 = bench.add_subcommand(
      "rfc1", "speed by folio size and copy engine, as table 1 of the kernel's offload series");
  auto options = std::make_shared<PublishedOptions>();
  AddThreads(*rfc1, options->threads, kCpus);
  rfc1->add_option("--channels", options->channels, "channels of the engine of that name")
      ->delimiter(',')
      ->check(CLI::Range(1, 8))
      ->capture_default_str();
  rfc1->add_option("--total", options->total, "bytes to move, such as 64m or 4g")
      ->capture_default_str();
  AddRest(*rfc1, options, ByFolioSize, chosen);

  auto* const rfc2 = bench.add_subcommand(
      "rfc2", "speed by how many folios are moved, as table 2 of the kernel's offload series");
  options = std::make_shared<PublishedOptions>();
  options->threads = {1, 2};
  AddThreads(*rfc2, options->threads, kCpus);
  rfc2->add_option("--batch", options->batches, "4 KiB pages, or 64k, 2m, up to 16m")
      ->delimiter(',')
      ->capture_default_str();
  AddFolios(*rfc2, *options, kRfcFolios);
  AddRest(*rfc2, options, ByFolios, chosen);

  auto* const mt = bench.add_subcommand(
      "mt", "speed by pages and threads, as the tables of the multi-threaded series");
  options = std::make_shared<PublishedOptions>();
  AddThreads(*mt, options->threads, kCpus);
  AddFolios(*mt, *options, kThreadedFolios);
  AddRest(*mt, options, ByThreads, chosen);
}

}  // namespace drover::cli
