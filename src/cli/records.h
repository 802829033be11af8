// What became of each page, as the mover wrote it into a memfd, and what has become of it since.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "control/protocol.h"
#include "flow/job.h"

namespace drover::cli {

// The mover is in the process that is moved: what it says is bounded by what its result claims.
std::vector<control::PageRecord> ReadRecords(int file, uint64_t pages_requested);

// Moved pages that are elsewhere by now than on the node that they were moved to; nullopt where no
// node was named.
std::optional<uint64_t> CountMovedBack(int pid, const flow::Placement& placement,
                                       const std::vector<control::PageRecord>& records);

// Of the pages that were called shared: how many are merged with equal ones (KSM). 0 without the
// right to see page frames and their flags.
uint64_t CountMerged(int pid, const std::vector<control::PageRecord>& records);

}  // namespace drover::cli
