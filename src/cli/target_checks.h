// What is checked before a move touches anything.
#pragma once

#include <expected>

#include "drover/engine.h"
#include "flow/job.h"
#include "topology/nodes.h"

namespace drover::cli {

// Every named range holds mapped memory, and the targets have room for what would come.
[[nodiscard]] std::expected<void, Error> CheckRangesAndMemory(int pid, const flow::Job& job,
                                                              const topology::Nodes& nodes);

}  // namespace drover::cli
