// One line of /proc/PID/status.
#pragma once

#include <string>

namespace drover::topology {

// The first word behind `key` (with its colon: "VmPeak:"); empty: there is no such line, or no such
// process. `process`: its folder, "/proc/4711", or one of a recorded machine.
std::string StatusWord(const std::string& process, const std::string& key);

}  // namespace drover::topology
