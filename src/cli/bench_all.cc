// drover bench all: every benchmark, on one page.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "cli/bench.h"
#include "report/page.h"

namespace drover::cli {
namespace {

struct AllOptions {
  std::string out;
  std::vector<std::string> only;
  ForAll all;
};

struct Benchmark {
  const char* name;
  Measured (*measure)(const ForAll&);
};
constexpr Benchmark kBenchmarks[] = {
    {"migrate", MeasureMigrateFor}, {"kernel", MeasureKernelFor}, {"rfc1", MeasureFolioSizesFor},
    {"rfc2", MeasureTotalsFor},     {"mt", MeasureThreadsFor},    {"scale", MeasureScaleFor},
    {"stall", MeasureStallFor},     {"app", MeasureAppFor},       {"copy", MeasureCopyFor},
    {"carry", MeasureCarryFor},
};

std::string TextOf(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The first line of a file that says `key`, behind its colon.
std::string LineOf(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) {
      const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
      return value == std::string::npos ? std::string() : line.substr(value);
    }
  return "unknown";
}

std::vector<std::pair<std::string, std::string>> ThisMachine() {
  const auto head = JsonHead("bench all")["context"];
  const auto text = [&](const char* key) {
    return head[key].is_string() ? head[key].get<std::string>() : head[key].dump();
  };
  std::string huge = TextOf("/sys/kernel/mm/transparent_hugepage/enabled");
  if (huge.ends_with('\n')) huge.pop_back();
  return {{"drover", text("drover")},
          {"kernel", text("kernel")},
          {"CPU", LineOf("/proc/cpuinfo", "model name")},
          {"CPUs", text("cpus")},
          {"nodes with memory", text("nodes_with_memory")},
          {"memory", LineOf("/proc/meminfo", "MemTotal")},
          {"transparent huge pages", huge.empty() ? "none" : huge},
          {"load before", LineOf("/proc/loadavg", "")}};
}

// A figure that cannot be drawn is no reason to lose the table.
std::string DrawInto(const std::filesystem::path& folder, const report::Table& table) {
  if (table.figure.curves.empty()) return {};
  const auto file = folder / (table.name + ".svg");
  for (const char* const ending : {".svg", ".png"})
    if (const auto drawn = report::DrawFigure(table.figure, folder / (table.name + ending));
        !drawn.has_value()) {
      fmt::print(stderr, "drover: {}\n", drawn.error().message);
      return {};
    }
  return TextOf(file);
}

bool Write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.good();
}

int MeasureAll(const AllOptions& options) {
  const std::filesystem::path folder = options.out;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  // Before an hour of measuring.
  if (error || !Write(folder / "index.html", ""))
    return Fail({Error::Kind::kFailed, fmt::format("{} cannot be written to", options.out)});
  const auto machine = ThisMachine();
  std::vector<report::Section> sections;
  int exit_code = kExitDone;
  for (const Benchmark& benchmark : kBenchmarks) {
    if (!options.only.empty() &&
        std::find(options.only.begin(), options.only.end(), benchmark.name) == options.only.end())
      continue;
    report::Section section{
        .heading = benchmark.name,
        .command = fmt::format("drover bench all --out DIR --only {} --rounds "
                               "{} --total {}{}",
                               benchmark.name, options.all.rounds, options.all.total,
                               options.all.touch_system ? " --touch-system" : "")};
    const Measured table = benchmark.measure(options.all);
    if (table.has_value()) {
      section.heading = table->title;
      section.table = *table;
      section.svg = DrawInto(folder, *table);
      if (!Write(folder / (table->name + ".csv"), report::TableCsv(*table)) ||
          !Write(folder / (table->name + ".json"), DocumentOf(*table).dump(2) + "\n"))
        return Fail({Error::Kind::kFailed, fmt::format("{} cannot be written to", options.out)});
    } else {
      section.error = table.error().message;
      exit_code = Fail(table.error());
    }
    sections.push_back(std::move(section));
    // After each, so that what there is is not lost with an interruption.
    if (!Write(folder / "index.html", report::PageOf("drover: benchmarks", machine, sections)))
      return Fail({Error::Kind::kFailed, fmt::format("{} cannot be written to", options.out)});
  }
  fmt::print("{}\n", (folder / "index.html").string());
  return exit_code;
}

}  // namespace

void AddBenchAll(CLI::App& bench, Chosen& chosen) {
  auto* const all = bench.add_subcommand(
      "all", "every benchmark: one HTML page with tables and figures, and each as CSV and JSON");
  auto options = std::make_shared<AllOptions>();
  std::vector<std::string> names;
  for (const Benchmark& each : kBenchmarks) names.emplace_back(each.name);
  all->add_option("--out", options->out,
                  "folder for the page and its parts; made if it is not there")
      ->required();
  all->add_option("--only", options->only, "some of them")
      ->delimiter(',')
      ->check(CLI::IsMember(names));
  all->add_option("--total", options->all.total, "bytes to move where a benchmark has one total")
      ->capture_default_str();
  all->add_flag("--touch-system", options->all.touch_system, "as for bench kernel");
  AddRounds(*all, options->all.rounds);
  all->callback([=, &chosen] { chosen.run = [=] { return MeasureAll(*options); }; });
}

}  // namespace drover::cli
