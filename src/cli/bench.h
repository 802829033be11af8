// What drover's benchmarks share: how their tables are shown.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "report/table.h"

namespace drover::cli {

void AddBenchMigrate(CLI::App& bench, Chosen& chosen);
void AddBenchPublished(CLI::App& bench, Chosen& chosen);
void AddBenchScale(CLI::App& bench, Chosen& chosen);
void AddBenchKernel(CLI::App& bench, Chosen& chosen);
void AddBenchCopy(CLI::App& bench, Chosen& chosen);
void AddBenchStall(CLI::App& bench, Chosen& chosen);
void AddBenchCarry(CLI::App& bench, Chosen& chosen);

struct ShownAs {
  bool json = false, csv = false;
  std::string figure;  // a file; empty: none
};

void AddRounds(CLI::App& command, int& rounds);
// --json, --csv, --figure; `drawn`: what the figure shows; empty: there is none.
void AddShownAs(CLI::App& command, ShownAs& shown, const std::string& drawn);
// Prints the table, draws its figure; the exit code.
int Show(const report::Table& table, const ShownAs& shown);

// Its steps, for a person, on stderr.
void SayStep(const std::string& step);

}  // namespace drover::cli
