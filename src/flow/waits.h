// What the application's threads wait for because of the engine, and the longest of it.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Keeps the longest ones, in falling order.
inline void NoteLongWait(const LongWait& wait, JobResult* result) {
  uint32_t at = result->long_wait_count;
  if (at == kLongWaitsNamed && wait.waited_ns <= result->long_waits[at - 1].waited_ns) return;
  if (at < kLongWaitsNamed)
    ++result->long_wait_count;
  else
    --at;
  for (; at > 0 && result->long_waits[at - 1].waited_ns < wait.waited_ns; --at)
    result->long_waits[at] = result->long_waits[at - 1];
  result->long_waits[at] = wait;
}

// A call that takes the application's mmap lock for writing, or needs no reader to be there: who
// faults, maps or unmaps meanwhile waits for it, and for no longer than the call takes.
class LockTimer {
 public:
  explicit LockTimer(Engine& engine) : engine_(engine), begin_ns_(engine.kernel.NowNs()) {}
  ~LockTimer() { engine_.result->lock_holds.Add(engine_.kernel.NowNs() - begin_ns_); }
  LockTimer(const LockTimer&) = delete;
  LockTimer& operator=(const LockTimer&) = delete;

 private:
  Engine& engine_;
  uint64_t begin_ns_;
};

}  // namespace drover::flow
