// What would spoil a move, or undo it afterwards; said before it starts, with the fix.
#pragma once

#include <string>
#include <vector>

#include "flow/job.h"

namespace drover::cli {

// `root`: "/" on the machine itself. One line each.
std::vector<std::string> WarningsFor(const std::string& root, int pid,
                                     const flow::Placement& placement);

}  // namespace drover::cli
