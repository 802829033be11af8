// Where the own path stands back: what a process uses that UFFDIO_MOVE may break, seen at the start
// of a job. The words for users stand in report/.
#pragma once

#include <string_view>

#include "flow/engine.h"

namespace drover::flow {

// Looks at the process and sets own_path_trouble (kStandsBack, with what was seen) where it is so.
void StandBack(Engine& engine);

// What one open descriptor means for the own path, by the target of its link in /proc/PID/fd.
StandBackFrom OfDescriptor(std::string_view target);

// Sets own_path_trouble when too few mappings are left below vm.max_map_count.
void CheckMappings(Engine& engine);

}  // namespace drover::flow
