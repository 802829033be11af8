// The job of the commands that move pages: in the foreground or not, reported at its end.
#pragma once

#include "cli/move_options.h"

namespace drover::cli {

// Once in a process: it takes SIGINT and SIGTERM. Returns the exit code.
int Move(const MoveOptions& options);

}  // namespace drover::cli
