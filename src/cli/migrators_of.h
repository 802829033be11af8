// The copy engines of the agent in a running program: looking at them and setting them.
#pragma once

#include <string>

#include "cli/command.h"

namespace drover::cli {

// Adds list (with --pid), set, register, unregister, load and unload to `drover migrators`.
// `pid`: of --pid, 0 where there is none.
void AddMigratorsOf(CLI::App& migrators, Chosen& chosen);

// The table or JSON of one process.
int ListMigratorsOf(int pid, bool json);

}  // namespace drover::cli
