// Threads by pthreads, for the hosted engine (library, benchmarks, tests under sanitizers).
#pragma once

#include <pthread.h>

#include "threads/threads.h"

namespace drover::threads {

class PosixThreads final : public Threads {
 public:
  static constexpr uint64_t kStackBytes = 2 << 20;  // the thread sanitizer keeps much there
  static constexpr uint32_t kThreadsMax = 22;

  // The memory for all stacks, mapped by the caller: kThreadsMax * kStackBytes.
  explicit PosixThreads(Range stacks) : stacks_(stacks) {}

  kernel::Errno Start(Body body, void* argument) override;
  void JoinAll() override;
  void Wait(const Word& word, uint32_t expected, uint64_t timeout_ns) override;
  void WakeAll(const Word& word) override;
  void AllowIdentitySignal(bool allow) override;
  Range Stacks() const override { return stacks_; }

 private:
  struct Task {
    Body body;
    void* argument;
  };
  Range stacks_;
  uint32_t started_ = 0;
  pthread_t threads_[kThreadsMax] = {};
  Task tasks_[kThreadsMax] = {};
};

}  // namespace drover::threads
