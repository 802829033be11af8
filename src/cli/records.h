// What became of each page, as the mover wrote it into a memfd, and what has become of it since.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "control/protocol.h"
#include "flow/job.h"

namespace drover::cli {

// The records of one job. The mover is in the process that is moved and may write anything: it is
// read piece by piece, and no further than that process can have pages.
class Records {
 public:
  // `file` stays the caller's. `pages_requested` as the result claims.
  Records(int file, int pid, uint64_t pages_requested);

  static constexpr uint32_t kPiecePages = 4096;
  // Calls visit with each record, cut into pieces of at most kPiecePages.
  void ForEach(const std::function<void(const control::PageRecord&)>& visit) const;

 private:
  int file_;
  uint64_t pages_max_;
};

// Drops from a file of records all but those of moved pages, and leaves it ready for more. There
// are at most as many as pages that were requested.
void KeepMoved(int file, uint64_t pages_requested);

// Moved pages that are elsewhere by now than on the node that they were moved to; nullopt where no
// node was named.
std::optional<uint64_t> CountMovedBack(int pid, const flow::Placement& placement,
                                       const Records& records);

// Of the pages that were called shared: how many are merged with equal ones (KSM). 0 without the
// right to see page frames and their flags.
uint64_t CountMerged(int pid, const Records& records);

}  // namespace drover::cli
