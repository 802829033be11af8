// drover tune: measures this machine once, and writes the profile that `auto` decides from.
#include "tune.h"

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/sizes.h"
#include "library/engines.h"

namespace drover::cli {
namespace {

struct TuneOptions {
  bench::TuneOptions wanted;
  std::vector<std::string> pairs;
  std::string buffer = "256M", largest = "16M", file;
  bool dry_run = false, json = false;
};

std::string KiB(uint64_t bytes) {
  return fmt::format("{} KiB", bytes >> 10);
}

void PrintWays(const std::vector<bench::WayRow>& rows, const migrators::CopyWays& ways) {
  fmt::print("copy function  {:>26}  {:>12}\n", "GB/s, one buffer (min-max)", "by 4 KiB");
  for (const bench::WayRow& row : rows)
    fmt::print(
        "{:<14} {:>26}  {:>12.2f}{}\n", NameOf(row.way),
        fmt::format("{:.2f} ({:.2f}-{:.2f})", row.gb_per_s, row.gb_per_s_min, row.gb_per_s_max),
        row.pages_gb_per_s,
        row.way == ways.large   ? "  chosen"
        : row.way == ways.small ? "  for small batches"
                                : "");
  fmt::print("chosen: {}\n", library::WordsOf(ways));
}

void PrintPair(const library::Profile::Pair& pair, const std::vector<bench::WayRow>& rows) {
  fmt::print("node {} to node {}\n\n", pair.source, pair.target);
  PrintWays(rows, pair.copy_ways);
  fmt::print("\n{:<12} {:>12} {:>12} {:>8}", "batch, GB/s*", NameOf(pair.copy_ways.small),
             NameOf(pair.copy_ways.large), "serial");
  for (const auto& engine : pair.engines) fmt::print(" {:>18}", library::WordsOf(engine.spec));
  for (const auto& batch : pair.batches) {
    fmt::print("\n{:>12} {:>12.2f} {:>12.2f}", KiB(batch.bytes), batch.small, batch.large);
    if (!batch.engines.empty()) fmt::print(" {:>8.2f}", batch.serial);
    for (const double engine : batch.engines)
      fmt::print(" {:>18}", fmt::format("{:.2f} (x {:.2f})", engine, engine / batch.serial));
  }
  fmt::print("\n* of copy functions: clearing and copying; of engines: copying\n");
  for (const auto& engine : pair.engines)
    fmt::print("{} {}\n", library::WordsOf(engine.spec),
               engine.smallest_bytes == 0
                   ? "does not pay"
                   : fmt::format("pays from {} on", KiB(engine.smallest_bytes)));
  fmt::print("auto is {}\n\n", library::WordsOf(pair));
}

// "SOURCE:TARGET"
std::expected<std::pair<int, int>, Error> ParsePair(const std::string& text) {
  std::pair<int, int> pair;
  int end = 0;
  if (std::sscanf(text.c_str(), "%3d:%3d%n", &pair.first, &pair.second, &end) == 2 &&
      end == static_cast<int>(text.size()))
    return pair;
  return std::unexpected(
      Error{Error::Kind::kUsage,
            fmt::format("'{}' is no pair of nodes; --pair takes SOURCE:TARGET, as in 0:1", text)});
}

std::expected<bench::TuneOptions, Error> WantedOf(const TuneOptions& options) {
  bench::TuneOptions wanted = options.wanted;
  for (const std::string& text : options.pairs) {
    const auto pair = ParsePair(text);
    if (!pair.has_value()) return std::unexpected(pair.error());
    wanted.pairs.push_back(*pair);
  }
  for (const auto& [text, to] : {std::pair(&options.buffer, &wanted.buffer_bytes),
                                 std::pair(&options.largest, &wanted.largest_bytes)}) {
    const auto bytes = ParseSize(*text);
    if (!bytes.has_value()) return std::unexpected(bytes.error());
    *to = *bytes;
  }
  constexpr uint64_t kSmallest = 16 << 10, kLargestBatch = 32 << 20;
  if (wanted.largest_bytes < kSmallest || wanted.largest_bytes > kLargestBatch ||
      wanted.buffer_bytes < std::max<uint64_t>(kHugeBytes, wanted.largest_bytes))
    return std::unexpected(
        Error{Error::Kind::kUsage,
              "--largest is from 16K to 32M, and --buffer 2M or more, and no less than --largest"});
  return wanted;
}

int Tune(const TuneOptions& options) {
  const auto wanted = WantedOf(options);
  if (!wanted.has_value()) return Fail(wanted.error());
  const auto report = bench::RunTune(
      *wanted, [](const std::string& step) { fmt::print(stderr, "drover: measuring {}\n", step); });
  if (!report.has_value()) return Fail(report.error());
  const std::string path = options.file.empty() ? library::ProfilePath() : options.file;
  if (!options.dry_run)
    if (const auto saved = library::SaveProfile(report->profile, path); !saved.has_value())
      return Fail(saved.error());
  if (options.json) {
    auto document = JsonHead("tune");
    document["profile"] = library::ProfileToJson(report->profile);
    document["file"] = options.dry_run ? "" : path;
    document["auto"] =
        library::WordsOfAuto({.profile = report->profile, .path = path, .notice = {}});
    PrintJson(document);
    return kExitDone;
  }
  for (size_t i = 0; i < report->ways.size(); ++i)
    PrintPair(report->profile.pairs[i], report->ways[i]);
  fmt::print("{}\n", options.dry_run ? "nothing was written" : "written to " + path);
  return kExitDone;
}

}  // namespace

void AddTune(CLI::App& app, Chosen& chosen) {
  auto* tune = app.add_subcommand(
      "tune", "measure this machine once, and write the profile that --migrator auto decides from");
  auto options = std::make_shared<TuneOptions>();
  tune->add_option("--rounds", options->wanted.rounds, "rounds, alternating; medians are taken")
      ->check(CLI::Range(3, 1000))
      ->capture_default_str();
  tune->add_option("--pair", options->pairs,
                   "SOURCE:TARGET: between these nodes alone; may be named several times");
  tune->add_option("--buffer", options->buffer,
                   "memory to measure in, twice; far beyond the caches (less where little is free)")
      ->capture_default_str();
  tune->add_option("--largest", options->largest, "largest batch to try")->capture_default_str();
  tune->add_option("--file", options->file,
                   "where to write it; else $DROVER_PROFILE, or ~/.config/drover/profile.json");
  tune->add_flag("--dry-run", options->dry_run, "measure and show, and write nothing");
  tune->add_flag("--json", options->json, "one JSON document on stdout");
  tune->footer(
      "Takes about two minutes for each pair of nodes. On a busy machine the figures are those of "
      "a busy machine.");
  tune->callback([=, &chosen] { chosen.run = [=] { return Tune(*options); }; });
}

}  // namespace drover::cli
