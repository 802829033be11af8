// What is checked before a move touches anything.
#pragma once

#include <expected>
#include <map>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"
#include "topology/nodes.h"

namespace drover::cli {

// Every named range holds mapped memory, and the targets have room for what would come.
[[nodiscard]] std::expected<void, Error> CheckRangesAndMemory(int pid, const flow::Job& job,
                                                              const topology::Nodes& nodes);

// How many pages of these ranges (at most flow::kRangesMax) are on each node.
[[nodiscard]] std::expected<std::map<int, uint64_t>, Error> PagesByNode(
    int pid, const std::vector<Range>& ranges);

// What a job needs on each node that is named as its target, and what is free there. Empty for
// `--to same`, and where it goes to several nodes in proportion.
struct Need {
  uint64_t bytes_to_come = 0, bytes_free = 0;
};
std::map<int, Need> MemoryNeeded(int pid, const flow::Job& job);

}  // namespace drover::cli
