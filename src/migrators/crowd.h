// Has something else run on this thread's CPU? For a thread that takes only what is left over, and
// must not be kept from going on in the middle of what it does. Freestanding.
#pragma once

#include "kernel/kernel.h"
#include "threads/threads.h"

namespace drover::migrators {

class Crowd {
 public:
  Crowd(kernel::Kernel& kernel, threads::Threads& threads) : kernel_(kernel), threads_(threads) {
    Begin();
  }

  // Anew: it has slept.
  void Begin() {
    since_ns_ = kernel_.NowNs();
    since_cpu_ns_ = kernel_.ThreadCpuNs();
  }
  // Sleeps for a while where others have run. (A look costs two system calls, so not often.)
  void RestIfCrowded() {
    const uint64_t ran_ns = kernel_.NowNs() - since_ns_;
    if (ran_ns < kCrowdedNs) return;
    if (ran_ns > kernel_.ThreadCpuNs() - since_cpu_ns_ + kCrowdedNs) {
      const threads::Word nothing = 0;
      threads_.AllowIdentitySignal(true);
      threads_.Wait(nothing, 0, kRestNs);
      threads_.AllowIdentitySignal(false);
    }
    Begin();
  }

 private:
  static constexpr uint64_t kCrowdedNs = 300'000;
  static constexpr uint64_t kRestNs = 20'000'000;

  kernel::Kernel& kernel_;
  threads::Threads& threads_;
  uint64_t since_ns_ = 0, since_cpu_ns_ = 0;
};

}  // namespace drover::migrators
