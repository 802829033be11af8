// drover move, and what holds for each of them.
#pragma once

#include <string>
#include <vector>

#include "live/command.h"
#include "vm/kernels_account.h"

namespace drover::vm {

// drover move PID WORDS... --json
live::Outcome Move(int pid, const std::vector<std::string>& words);
live::Outcome Exchange(int pid, const std::vector<std::string>& words);
// As --range wants it.
std::string RangeWord(PageRange range);

// A report that adds up and agrees with the exit code. False: there is none to look at.
[[nodiscard]] bool ExpectTruthful(const live::Outcome& outcome);

// All but two in a hundred of the range's pages are on the node, as move_pages says and numa_maps.
void ExpectOnNode(int pid, PageRange range, int node);

}  // namespace drover::vm
