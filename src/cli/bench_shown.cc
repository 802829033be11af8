#include <fmt/format.h>

#include "cli/bench.h"

namespace drover::cli {

void AddRounds(CLI::App& command, int& rounds) {
  command.add_option("--rounds", rounds, "rounds, alternating between the sides")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void AddShownAs(CLI::App& command, ShownAs& shown, const std::string& drawn) {
  if (!drawn.empty())
    command.add_option("--figure", shown.figure,
                       "draw " + drawn + " into this SVG or PNG file (by gnuplot)");
  auto* const json = command.add_flag("--json", shown.json, "one JSON document on stdout");
  command.add_flag("--csv", shown.csv, "comma-separated values on stdout")->excludes(json);
}

int Show(const report::Table& table, const ShownAs& shown) {
  if (shown.json) {
    auto document = JsonHead("bench " + table.name);
    report::AddTable(table, &document);
    PrintJson(document);
  } else {
    fmt::print("{}", shown.csv ? report::TableCsv(table) : report::TableText(table));
  }
  if (shown.figure.empty()) return kExitDone;
  const auto drawn = report::DrawFigure(table.figure, shown.figure);
  return drawn.has_value() ? static_cast<int>(kExitDone) : Fail(drawn.error());
}

void SayStep(const std::string& step) {
  fmt::print(stderr, "drover: measuring {}\n", step);
}

}  // namespace drover::cli
