// Where the own path stands back: what a process uses that UFFDIO_MOVE may break. Looked for before
// each job, and heard of from the house's hooks while one runs. The words for users stand in
// report/.
#pragma once

#include <string_view>

#include "flow/engine.h"

namespace drover::flow {

// What the program was seen to call for and may have made use of anywhere in its memory: not
// forgotten. The rest can be looked for again.
inline constexpr StandBackSet kSeenForGood =
    SetOf(StandBackFrom::kPiFutex) | SetOf(StandBackFrom::kRobustMutex);

// Looks at a process, from inside (pid 0) or from outside. `threads` and `userfaults`: how many
// that would count are the engine's own.
struct Look {
  kernel::Kernel& kernel;
  int32_t pid = 0;
  uint32_t own_threads = 0;
  uint32_t own_userfaults = 0;
  // To let threads that were just made, or are ending, pass; nullptr: one look.
  threads::Threads* nap = nullptr;
};
StandBackSet LookAt(const Look& look);

// What one open descriptor, or the file of that name, means for the own path; 0: nothing.
StandBackSet OfDescriptor(std::string_view target);

// Looks at the engine's process before a job and sets own_path_trouble where it stands back.
void StandBack(Engine& engine);
// What the hooks have seen since: the same. True: it stands back. Called with the gate closed.
[[nodiscard]] bool HasSeenReason(Engine& engine);

// Sets own_path_trouble when too few mappings are left below vm.max_map_count.
void CheckMappings(Engine& engine);

}  // namespace drover::flow
