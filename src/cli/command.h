// What the commands share: each adds itself to the parser, and returns drover's exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/exit_codes.h"

namespace drover::cli {

// Set by the command that was chosen on the command line.
struct Chosen {
  std::function<int()> run;
};

void AddDoctor(CLI::App& app, Chosen& chosen);
void AddRun(CLI::App& app, Chosen& chosen);
void AddPs(CLI::App& app, Chosen& chosen);
void AddOff(CLI::App& app, Chosen& chosen);
void AddPages(CLI::App& app, Chosen& chosen);
void AddTopo(CLI::App& app, Chosen& chosen);
void AddMove(CLI::App& app, Chosen& chosen);
void AddExchange(CLI::App& app, Chosen& chosen);
void AddJobs(CLI::App& app, Chosen& chosen);
void AddMigrators(CLI::App& app, Chosen& chosen);
void AddTune(CLI::App& app, Chosen& chosen);
void AddBench(CLI::App& app, Chosen& chosen);

// Its exit code; what a library throws (no memory, most likely) is said, and a failure.
int RunOrSay(const std::function<int()>& work);

// Says an error in one line on stderr and returns its exit code.
int Fail(const Error& error);

// {"schema_version": ..., "context": {...}}: the head of every JSON document.
nlohmann::json JsonHead(const std::string& command);
void PrintJson(const nlohmann::json& document);

}  // namespace drover::cli
