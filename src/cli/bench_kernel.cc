// drover bench kernel: the kernel doing the same job on the same machine.
#include <fmt/format.h>
#include <unistd.h>

#include "against_offline.h"
#include "cli/bench_migrate.h"
#include "cli/sizes.h"
#include "topology/nodes.h"

namespace drover::cli {
namespace {

struct KernelOptions {
  std::vector<std::string> pages = {"4K", "2M", "4K-2M"};
  std::vector<int> threads = {1, 2};
  std::string total = "1g", offline_total = "6g";
  int rounds = 7;
  bool touch_system = false;
  ShownAs shown;
};

nlohmann::json AgainstOfflineToJson(const bench::AgainstOfflineRow& row) {
  nlohmann::json json = {{"side", "drover"},
                         {"page", row.page},
                         {"threads", row.threads},
                         {"kernel_threads", 1},
                         {"kernel_how", row.how},
                         {"total_bytes", row.total_bytes},
                         {"rounds", row.rounds},
                         {"kernel_gb_per_s", row.kernel_gb_per_s.median},
                         {"kernel_inside_gb_per_s", row.kernel_inside_gb_per_s.median}};
  AddSpread("gb_per_s", row.gb_per_s, &json);
  AddSpread("kernel_ratio", row.ratio, &json);
  AddSpread("kernel_inside_ratio", row.ratio_inside, &json);
  return json;
}

// Calls that change nothing of the machine: MADV_COLLAPSE, and move_pages(2) where there are two
// nodes.
std::expected<void, Error> AddCalls(const KernelOptions& options, uint64_t total_bytes,
                                    report::Table* table) {
  bench::MigrateOptions wanted;
  wanted.rounds = options.rounds;
  const auto nodes = topology::ReadNodes("/").with_memory;
  const bool two = nodes.size() > 1;
  if (two) wanted.nodes = {nodes[0].id, nodes[1].id};
  for (const std::string& page : options.pages)
    if (two || page == "4K-2M")
      for (const bench::MigrateCase& of :
           bench::CasesOf({page}, {"fresh"}, {2u << 20}, options.threads, {total_bytes}))
        wanted.cases.push_back(of);
    else
      table->skipped.push_back(
          {page + " by move_pages", "one memory node: it moves nothing there"});
  auto measured = MeasureMigrations(wanted);
  if (!measured.has_value()) return std::unexpected(measured.error());
  for (nlohmann::json& row : measured->rows) {
    row["kernel_threads"] = row["threads"];
    table->rows.push_back(std::move(row));
  }
  for (const auto& skipped : measured->skipped) table->skipped.push_back(skipped);
  return {};
}

std::expected<void, Error> AddOfflining(const KernelOptions& options, uint64_t total_bytes,
                                        report::Table* table) {
  bench::AgainstOfflineOptions wanted{
      .threads = options.threads, .total_bytes = total_bytes, .rounds = options.rounds};
  wanted.progress = SayStep;
  std::erase_if(wanted.pages, [&](const std::string& page) {
    return std::find(options.pages.begin(), options.pages.end(), page) == options.pages.end();
  });
  const char* const why_not =
      geteuid() != 0 ? "needs root"
      : !options.touch_system
          ? "takes memory blocks offline for a moment, and compacts memory: --touch-system"
          : nullptr;
  if (why_not != nullptr) {
    for (const std::string& page : wanted.pages)
      table->skipped.push_back({page + " by memory offlining, compaction", why_not});
    return {};
  }
  fmt::print(
      stderr,
      "drover: memory blocks are taken offline and put online again, one at a time; that is "
      "undone when this ends, also when it is interrupted. And memory is compacted, which moves "
      "pages of everybody's, but changes nothing else\n");
  auto report = bench::RunAgainstOffline(wanted);
  if (!report.has_value()) return std::unexpected(report.error());
  for (const auto& row : report->rows) table->rows.push_back(AgainstOfflineToJson(row));
  for (const auto& skipped : report->skipped) table->skipped.push_back(skipped);
  return {};
}

Measured MeasureKernel(const KernelOptions& options) {
  report::Table table;
  table.name = "kernel";
  table.title = "drover beside the kernel doing the same job";
  table.legend =
      "GB/s are medians; times as fast = the kernel's time / drover's, median (min to max); "
      "inside: "
      "of the kernel's time what it spent in migrate_pages() alone, by its tracepoints";
  const std::string ratio = "{kernel_ratio:.2f} ({kernel_ratio_min:.2f} to {kernel_ratio_max:.2f})";
  table.columns = {{"page", "{page}"},
                   {"total", "{total_bytes:size}"},
                   {"CPUs", "{threads}"},
                   {"drover", "{gb_per_s:.2f}"},
                   {"the kernel's", "{kernel_how}"},
                   {"CPUs", "{kernel_threads}"},
                   {"kernel", "{kernel_gb_per_s:.2f}"},
                   {"times as fast", ratio},
                   {"inside", "{kernel_inside_gb_per_s:.2f}"},
                   {"times as fast",
                    "{kernel_inside_ratio:.2f} ({kernel_inside_ratio_min:.2f} to "
                    "{kernel_inside_ratio_max:.2f})"}};
  const auto total = ParseTotal(options.total), offline_total = ParseTotal(options.offline_total);
  if (!total.has_value()) return std::unexpected(total.error());
  if (!offline_total.has_value()) return std::unexpected(offline_total.error());
  // (The offlining's restorer is made before there are threads.)
  if (const auto added = AddOfflining(options, *offline_total, &table); !added.has_value())
    return std::unexpected(added.error());
  if (const auto added = AddCalls(options, *total, &table); !added.has_value())
    return std::unexpected(added.error());
  table.figure = {.title = table.title, .x = "CPUs", .y = "GB/s", .curves = {}};
  table.figure.x_axis = report::Axis::kPowersOfTwo;
  table.figure.y_axis = report::Axis::kLinear;
  for (const auto& row : table.rows) {
    report::AddPoint(&table.figure, report::CellText("{page}, drover", row), row["threads"],
                     row["gb_per_s"]);
    if (!row["kernel_gb_per_s"].is_null())
      report::AddPoint(&table.figure, report::CellText("{page}, {kernel_how}", row),
                       row["kernel_threads"], row["kernel_gb_per_s"]);
  }
  return table;
}

}  // namespace

Measured MeasureKernelFor(const ForAll& all) {
  KernelOptions options;
  options.rounds = all.rounds;
  options.total = all.total;
  options.touch_system = all.touch_system;
  return MeasureKernel(options);
}

void AddBenchKernel(CLI::App& bench, Chosen& chosen) {
  auto* const kernel = bench.add_subcommand(
      "kernel",
      "the kernel doing the same job here: move_pages, MADV_COLLAPSE, offlining, compaction");
  auto options = std::make_shared<KernelOptions>();
  kernel->add_option("--page", options->pages, "page sizes: 4K, 2M, 4K-2M")
      ->delimiter(',')
      ->check(CLI::IsMember({"4K", "2M", "4K-2M"}))
      ->capture_default_str();
  AddThreads(*kernel, options->threads, "CPUs for drover, and for the kernel's calls");
  kernel->add_option("--total", options->total, "bytes to move by calls")->capture_default_str();
  kernel
      ->add_option("--offline-total", options->offline_total,
                   "memory of this process's, so much that whole memory blocks are its alone")
      ->capture_default_str();
  kernel->add_flag("--touch-system", options->touch_system,
                   "allow what changes the machine for a moment: a memory block goes offline, and "
                   "comes back, also when this is interrupted; and memory is compacted");
  AddRounds(*kernel, options->rounds);
  AddShownAs(*kernel, options->shown, "the speeds");
  kernel->callback(
      [=, &chosen] { chosen.run = [=] { return Show(MeasureKernel(*options), options->shown); }; });
}

}  // namespace drover::cli
