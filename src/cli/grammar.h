// The whole command line, without running anything.
#pragma once

#include "cli/command.h"

namespace drover::cli {

// drover's own words, and each command. What was parsed is then in `chosen`.
void AddGrammar(CLI::App& app, Chosen& chosen);

}  // namespace drover::cli
