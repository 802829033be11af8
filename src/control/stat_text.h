// /proc/PID/stat as text. The name in it may hold anything, blanks and brackets too.
#pragma once

#include <optional>
#include <string>

#include "control/agents.h"

namespace drover::control {

// What the file says of the process; nullopt: it is no such text.
std::optional<ProcessInfo> ParseStat(const std::string& text);

}  // namespace drover::control
