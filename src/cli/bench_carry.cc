// drover bench carry: what a program pays for an idle agent.
#include <fmt/format.h>

#include <filesystem>

#include "carry.h"
#include "cli/bench.h"

namespace drover::cli {
namespace {

struct CarryOptions {
  int rounds = 5;
  bool inside = false;
  ShownAs shown;
};

Measured MeasureCarry(const CarryOptions& options) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  const auto rows = bench::RunCarry(self, {"bench", "carry", "--inside"}, options.rounds);
  if (!rows.has_value()) return std::unexpected(rows.error());
  report::Table table;
  table.name = "carry";
  table.title = "What a program pays for an idle agent";
  table.legend = "medians; ratio = with an agent / without, median (min to max)";
  table.columns = {{"cost", "{what}"},
                   {"without", "{without:.2f}"},
                   {"with", "{with:.2f}"},
                   {"ratio", "{ratio:.2f} ({ratio_min:.2f} to {ratio_max:.2f})"},
                   {"added", "{added:.2f} {unit}"}};
  for (const auto& row : *rows)
    table.rows.push_back({{"what", row.what},
                          {"unit", row.unit},
                          {"rounds", options.rounds},
                          {"without", row.without},
                          {"with", row.with},
                          {"ratio", row.ratio},
                          {"ratio_min", row.ratio_min},
                          {"ratio_max", row.ratio_max},
                          {"added", row.added}});
  return table;
}

int Carry(const CarryOptions& options) {
  if (!options.inside) return Show(MeasureCarry(options), options.shown);
  fmt::print("{}", bench::MeasureInside());
  return kExitDone;
}

}  // namespace

Measured MeasureCarryFor(const ForAll& all) {
  CarryOptions options;
  options.rounds = all.rounds;
  return MeasureCarry(options);
}

void AddBenchCarry(CLI::App& bench, Chosen& chosen) {
  auto* carry = bench.add_subcommand(
      "carry", "what a program pays for an idle agent, beside the same program without one");
  auto options = std::make_shared<CarryOptions>();
  AddRounds(*carry, options->rounds);
  carry->add_flag("--inside", options->inside)->group("");  // the measured program itself
  AddShownAs(*carry, options->shown, "");
  carry->callback([=, &chosen] { chosen.run = [=] { return Carry(*options); }; });
}

}  // namespace drover::cli
