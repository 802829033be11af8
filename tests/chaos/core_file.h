// What a core file says that stood in a program's memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace drover::chaos {

struct CorePages {
  uint64_t right = 0, lacking = 0, wrong = 0;  // lacking: zeros, where data must stand
};

// Of the slice of thread 0 of a storm with this seed that has changed nothing yet. Pages that were
// away when it died are lacking: the kernel does not wait for them. Nothing where `folder` has no
// core file (the kernel hands cores to somebody else).
std::optional<CorePages> ReadCore(const std::string& folder, uint64_t seed);

}  // namespace drover::chaos
