// Has something else run on this thread's CPU? For a thread that takes only what is left over, and
// must not be kept from going on in the middle of what it does. Freestanding.
#pragma once

#include "kernel/kernel.h"

namespace drover::migrators {

class Crowd {
 public:
  explicit Crowd(kernel::Kernel& kernel) : kernel_(kernel) { Begin(); }

  // Anew: it has slept.
  void Begin() {
    since_ns_ = kernel_.NowNs();
    since_cpu_ns_ = kernel_.ThreadCpuNs();
  }
  // Then rest for kRestNs. (A look costs two system calls, so it is not made often.)
  bool IsCrowded() {
    const uint64_t ran_ns = kernel_.NowNs() - since_ns_;
    if (ran_ns < kCrowdedNs) return false;
    const bool crowded = ran_ns > kernel_.ThreadCpuNs() - since_cpu_ns_ + kCrowdedNs;
    Begin();
    return crowded;
  }
  static constexpr uint64_t kRestNs = 20'000'000;

 private:
  static constexpr uint64_t kCrowdedNs = 300'000;

  kernel::Kernel& kernel_;
  uint64_t since_ns_ = 0, since_cpu_ns_ = 0;
};

}  // namespace drover::migrators
