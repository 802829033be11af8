// How much of the machine a job may take: bytes a second, and of one CPU. Where it is ahead of that
// it waits between two batches, where nothing is absent.
//
// Mover thread. Freestanding.
#pragma once

#include <cstdint>

#include "flow/limits.h"

namespace drover::flow {

struct Job;

class Throttle {
 public:
  // What the job has done and used by now.
  struct Used {
    uint64_t now_ns = 0;
    uint64_t cpu_ns = 0;  // of the mover; helpers have CPUs that are idle
    uint64_t pages = 0;   // moved, or gathered
  };
  void Begin(const Job& job, const Used& now);

  bool is_bounded() const { return rate_ > 0 || cpu_percent_ > 0; }
  // How long the job has to wait now. Time in which it stood still for another cause counts as a
  // wait, but is not made up for by a burst.
  uint64_t WaitNs(const Used& now);

 private:
  uint64_t rate_ = 0;         // bytes a second; 0: no bound
  uint64_t cpu_percent_ = 0;  // 0: no bound
  Used last_;
  int64_t owed_ns_ = 0;  // negative: it is behind
};

}  // namespace drover::flow
