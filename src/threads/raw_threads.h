// Threads by raw clone, which libc does not know: a program without threads keeps libc's
// single-threaded mode, and setuid, pthread_exit and the like never wait for them. Freestanding.
#pragma once

#include "threads/threads.h"

namespace drover::threads {

class RawThreads final : public Threads {
 public:
  static constexpr uint64_t kStackBytes = 64 << 10;
  static constexpr uint32_t kThreadsMax = 22;

  // The memory for all stacks, mapped by the caller: kThreadsMax * kStackBytes.
  explicit RawThreads(Range stacks) : stacks_(stacks) {}

  kernel::Errno Start(Body body, void* argument) override;
  void JoinAll() override;
  void Wait(const Word& word, uint32_t expected, uint64_t timeout_ns) override;
  void WakeAll(const Word& word) override;
  void AllowIdentitySignal(bool) override {}
  Range Stacks() const override { return stacks_; }

  // Starts one thread on the given stack. `alive` becomes the thread id, and 0 with a wake when
  // the thread has ended (CLONE_CHILD_CLEARTID). The new thread has all 64 signals blocked.
  [[nodiscard]] static kernel::Errno StartOn(Range stack, Body body, void* argument, Word* alive);

 private:
  Range stacks_;
  uint32_t started_ = 0;
  Word alive_[kThreadsMax] = {};
};

}  // namespace drover::threads
