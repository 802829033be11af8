#include <fmt/format.h>

#include "cli/bench.h"

namespace drover::cli {

void AddRounds(CLI::App& command, int& rounds) {
  command.add_option("--rounds", rounds, "rounds, alternating between the sides")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

void AddThreads(CLI::App& command, std::vector<int>& threads, const char* whose) {
  command.add_option("--threads", threads, whose)
      ->delimiter(',')
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
}

void AddShownAs(CLI::App& command, ShownAs& shown, const std::string& drawn) {
  if (!drawn.empty())
    command.add_option("--figure", shown.figure,
                       "draw " + drawn + " into this SVG or PNG file (by gnuplot)");
  auto* const json = command.add_flag("--json", shown.json, "one JSON document on stdout");
  command.add_flag("--csv", shown.csv, "comma-separated values on stdout")->excludes(json);
}

nlohmann::json DocumentOf(const report::Table& table) {
  auto document = JsonHead("bench " + table.name);
  report::AddTable(table, &document);
  return document;
}

void AddSpread(const std::string& name, const bench::Spread& spread, nlohmann::json* row) {
  (*row)[name] = spread.median;
  (*row)[name + "_min"] = spread.min;
  (*row)[name + "_max"] = spread.max;
}

int Show(const Measured& table, const ShownAs& shown) {
  if (!table.has_value()) return Fail(table.error());
  if (shown.json)
    PrintJson(DocumentOf(*table));
  else
    fmt::print("{}", shown.csv ? report::TableCsv(*table) : report::TableText(*table));
  if (shown.figure.empty()) return kExitDone;
  const auto drawn = report::DrawFigure(table->figure, shown.figure);
  return drawn.has_value() ? static_cast<int>(kExitDone) : Fail(drawn.error());
}

void SayStep(const std::string& step) {
  fmt::print(stderr, "drover: measuring {}\n", step);
}

}  // namespace drover::cli
