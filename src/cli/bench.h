// What drover's benchmarks share: how their tables are shown.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/command.h"
#include "measure.h"
#include "report/table.h"

namespace drover::cli {

void AddBenchMigrate(CLI::App& bench, Chosen& chosen);
void AddBenchPublished(CLI::App& bench, Chosen& chosen);
void AddBenchScale(CLI::App& bench, Chosen& chosen);
void AddBenchKernel(CLI::App& bench, Chosen& chosen);
void AddBenchCopy(CLI::App& bench, Chosen& chosen);
void AddBenchStall(CLI::App& bench, Chosen& chosen);
void AddBenchCarry(CLI::App& bench, Chosen& chosen);
void AddBenchApp(CLI::App& bench, Chosen& chosen);
void AddBenchAll(CLI::App& bench, Chosen& chosen);

struct ShownAs {
  bool json = false, csv = false;
  std::string figure;  // a file; empty: none
};

void AddRounds(CLI::App& command, int& rounds);
void AddThreads(CLI::App& command, std::vector<int>& threads, const char* whose);
// A table, or why there is none.
using Measured = std::expected<report::Table, Error>;

// What `drover bench all` says to each.
struct ForAll {
  int rounds = 7;
  std::string total = "256m";
  bool touch_system = false;
};
Measured MeasureMigrateFor(const ForAll& all);
Measured MeasureFolioSizesFor(const ForAll& all);
Measured MeasureTotalsFor(const ForAll& all);
Measured MeasureThreadsFor(const ForAll& all);
Measured MeasureScaleFor(const ForAll& all);
Measured MeasureKernelFor(const ForAll& all);
Measured MeasureCopyFor(const ForAll& all);
Measured MeasureStallFor(const ForAll& all);
Measured MeasureAppFor(const ForAll& all);
Measured MeasureCarryFor(const ForAll& all);

// Its median as `name`, and name_min and name_max.
void AddSpread(const std::string& name, const bench::Spread& spread, nlohmann::json* row);

// --json, --csv, --figure; `drawn`: what the figure shows; empty: there is none.
void AddShownAs(CLI::App& command, ShownAs& shown, const std::string& drawn);
// Prints the table, draws its figure; the exit code.
int Show(const Measured& table, const ShownAs& shown);
// The same as --json has it.
nlohmann::json DocumentOf(const report::Table& table);

// Its steps, for a person, on stderr.
void SayStep(const std::string& step);

}  // namespace drover::cli
