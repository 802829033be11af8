// drover bench migrate: how fast memory is relocated, beside the floors of the same run.
#include "cli/bench_migrate.h"

#include <fmt/format.h>

#include "cli/precopy.h"
#include "cli/sizes.h"

namespace drover::cli {
namespace {

struct BenchMigrateOptions {
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<int> threads = {1, 2};
  std::vector<std::string> pools = {"fresh"}, batches = {"2m"}, totals = {"1g"};
  std::string max_stall = "none";
  PrecopyWord precopy;
  bench::MigrateOptions wanted;
  ShownAs shown;
};

nlohmann::json PhasesToJson(const MoveResult::Phases& phases) {
  return {{"collect", phases.collect}, {"prepare", phases.prepare}, {"isolate", phases.isolate},
          {"copy", phases.copy},       {"remap", phases.remap},     {"release", phases.release},
          {"precopy", phases.precopy}, {"gather", phases.gather}};
}

std::vector<report::Column> ColumnsOf(bool beside_kernel) {
  std::vector<report::Column> columns = {
      {"page", "{page}"},
      {"pool", "{pool}"},
      {"copied by", "{migrator}"},
      {"CPUs", "{threads}"},
      {"without helpers", "{batches_alone} of {windows}"},
      {"total", "{total_bytes:size}"},
      {"batch", "{batch_bytes:size}"},
      {"copy floor", "{copy_floor_gb_per_s:.2f}"},
      {"fresh floor", "{fresh_floor_gb_per_s:.2f}"},
      {"drover", "{gb_per_s:.2f}"},
      {"efficiency", "{efficiency:.2f} ({efficiency_min:.2f} to {efficiency_max:.2f})"},
      {"window p99", "{window_p99_us:.0f} us"},
      {"extra memory", "{extra_memory_mib:.1f} MiB"}};
  if (!beside_kernel) return columns;
  columns.push_back({"kernel", "{kernel_gb_per_s:.2f}"});
  columns.push_back({"by", "{kernel_how}"});
  columns.push_back({"times as fast",
                     "{kernel_ratio:.2f} ({kernel_ratio_min:.2f} to "
                     "{kernel_ratio_max:.2f})"});
  return columns;
}

// Sizes of a list of words, each read by `parse`.
template <class Parse>
std::expected<std::vector<size_t>, Error> SizesOf(const std::vector<std::string>& words,
                                                  Parse parse) {
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    const auto size = parse(word);
    if (!size.has_value()) return std::unexpected(size.error());
    sizes.push_back(*size);
  }
  return sizes;
}

// Speed by what there is more than one of: total, batch or threads.
report::Figure DrawnSpeeds(const report::Table& table, const BenchMigrateOptions& options) {
  report::Figure figure{.title = table.title, .x = "total moved", .y = "GB/s", .curves = {}};
  figure.x_axis = report::Axis::kBytes;
  std::string x_key = "total_bytes", name = "{page} {pool} {migrator}, batch {batch_bytes:size}";
  if (options.totals.size() == 1 && options.batches.size() > 1) {
    x_key = "batch_bytes", name = "{page} {pool} {migrator}", figure.x = "batch";
  } else if (options.totals.size() == 1) {
    x_key = "threads", name = "{page} {pool}, batch {batch_bytes:size}", figure.x = "CPUs";
    figure.x_axis = report::Axis::kPowersOfTwo;
  }
  for (const char* const what : {"gb_per_s", "copy_floor_gb_per_s", "fresh_floor_gb_per_s"})
    for (const auto& row : table.rows) {
      const std::string key = what;
      // (The floors do not depend on how the targets come to be.)
      if (key != "gb_per_s" && row["pool"] != "fresh") continue;
      const std::string curve =
          (key == "gb_per_s" ? "" : key.substr(0, key.find('_')) + " floor, ") +
          report::CellText(name, row);
      report::AddPoint(&figure, curve, row[x_key].get<double>(), row[key].get<double>());
    }
  return figure;
}

Measured MeasureMigrate(const BenchMigrateOptions& options) {
  bench::MigrateOptions wanted = options.wanted;
  wanted.precopy = options.precopy.value();
  const auto totals = SizesOf(options.totals, ParseTotal);
  if (!totals.has_value()) return std::unexpected(totals.error());
  const auto batches =
      SizesOf(options.batches, [](const std::string& word) { return ParseSize(word, kPageBytes); });
  if (!batches.has_value()) return std::unexpected(batches.error());
  wanted.cases = bench::CasesOf(options.pages, options.pools, *batches, options.threads, *totals);
  const auto max_stall_us = ParseStall(options.max_stall);
  if (!max_stall_us.has_value()) return std::unexpected(max_stall_us.error());
  wanted.max_stall_us = *max_stall_us;
  auto table = MeasureMigrations(wanted);
  if (!table.has_value()) return std::unexpected(table.error());
  table->name = "migrate";
  table->title = "How fast drover relocates memory";
  table->figure = DrawnSpeeds(*table, options);
  return table;
}

}  // namespace

nlohmann::json RowToJson(const bench::MigrateRow& row, double max_stall_us) {
  nlohmann::json json = {
      {"page", row.of.page},
      {"pool", row.of.pool},
      {"side", "drover"},
      {"migrator", row.of.migrator},
      {"threads", row.of.threads},
      {"batch_bytes", row.of.batch_bytes},
      {"total_bytes", row.of.total_bytes},
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
      {"batches_alone", row.batches_alone},
      {"windows_over_budget", row.windows_over_budget},
      {"windows_preempted", row.windows_preempted},
      {"window_p50_us", row.window_p50_us},
      {"window_p99_us", row.window_p99_us},
      {"window_max_us", row.window_max_us},
      {"extra_memory_mib", static_cast<double>(row.extra_memory_bytes) / (1 << 20)},
      {"phases_s", PhasesToJson(row.phases_s)}};
  for (const char* const key :
       {"kernel_how", "kernel_gb_per_s", "kernel_ratio", "kernel_ratio_min", "kernel_ratio_max"})
    json[key] = nullptr;
  if (!row.kernel.has_value()) return json;
  json["kernel_how"] = row.kernel->how;
  json["kernel_gb_per_s"] = row.kernel->gb_per_s;
  json["kernel_ratio"] = row.kernel->ratio;
  json["kernel_ratio_min"] = row.kernel->ratio_min;
  json["kernel_ratio_max"] = row.kernel->ratio_max;
  return json;
}

std::expected<report::Table, Error> MeasureMigrations(bench::MigrateOptions options) {
  options.progress = SayStep;
  const auto report = bench::RunMigrate(options);
  if (!report.has_value()) return std::unexpected(report.error());
  report::Table table;
  table.legend = fmt::format(
      "floors copy {}; GB/s are medians; efficiency = floor's time / drover's, median (min to "
      "max): the fresh floor's (fault in, which zeroes; copy; free) where targets are fresh, else "
      "the copy floor's; extra memory: by "
      "how much the process was larger at most while its memory moved",
      report->copy_function);
  table.context["copy_function"] = report->copy_function;
  if (options.check_floor) {
    table.context["floor_check"] = report->floor_check;
    table.notes.push_back(
        report->floor_check == 0
            ? std::string("the floor is not checked: the plain loop needs AVX-512")
            : fmt::format("the plain loop takes {:.3f} times as long as the floor",
                          report->floor_check));
  }
  bool beside_kernel = false;
  for (const auto& row : report->rows) {
    table.rows.push_back(RowToJson(row, options.max_stall_us));
    beside_kernel = beside_kernel || row.kernel.has_value();
  }
  table.columns = ColumnsOf(beside_kernel);
  table.skipped = report->skipped;
  return table;
}

void AddBufferNodes(CLI::App& command, bench::BufferNodes& nodes) {
  auto* const from =
      command.add_option("--from", nodes.source, "node of the sources")->check(CLI::Range(0, 1023));
  command
      .add_option("--to", nodes.target,
                  "node of the targets; the kernel's move_pages(2) is measured beside it")
      ->check(CLI::Range(0, 1023))
      ->needs(from);
}

Measured MeasureMigrateFor(const ForAll& all) {
  BenchMigrateOptions options;
  options.pages = {"4K", "2M", "4K-2M"};
  options.pools = {"fresh", "reuse"};
  options.batches = {"2m", "16m"};
  options.totals = {all.total};
  options.wanted.rounds = all.rounds;
  options.wanted.check_floor = true;
  return MeasureMigrate(options);
}

void AddBenchMigrate(CLI::App& bench, Chosen& chosen) {
  auto* migrate = bench.add_subcommand(
      "migrate", "how fast drover relocates memory, beside the floors of the same run");
  auto options = std::make_shared<BenchMigrateOptions>();
  migrate
      ->add_option("--page", options->pages,
                   "page sizes: 4K, 2M; 4K-2M: small pages become huge ones, beside MADV_COLLAPSE")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M", "4K-2M"}))
      ->capture_default_str();
  AddThreads(*migrate, options->threads, "CPUs that all engine threads share");
  migrate->add_option("--total", options->totals, "bytes to move, such as 64m or 4g")
      ->delimiter(',')
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
  AddBufferNodes(*migrate, options->wanted.nodes);
  AddRounds(*migrate, options->wanted.rounds);
  migrate->add_flag("--check-floor", options->wanted.check_floor,
                    "compare the floor with a plain loop; an error when it is 5 % slower");
  AddShownAs(*migrate, options->shown, "the speeds");
  migrate->callback([=, &chosen] {
    chosen.run = [=] { return Show(MeasureMigrate(*options), options->shown); };
  });
}

}  // namespace drover::cli
