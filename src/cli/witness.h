// A look at another process's page table before and after a move, independent of the engine.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "cli/records.h"
#include "flow/job.h"

namespace drover::cli {

class Witness {
 public:
  // Notes the page frames of the process's private memory, or of the ranges. Sees nothing without
  // CAP_SYS_ADMIN, or where it is not to `look`.
  Witness(int pid, const flow::Job& job, bool look);

  // Of the pages that `records` call moved: the share whose frame is another one now.
  std::optional<double> ShareSeenToMove(const Records& records) const;

 private:
  int pid_;
  bool sees_ = false;
  std::unordered_map<uint64_t, uint64_t> frames_;  // by page address
};

}  // namespace drover::cli
