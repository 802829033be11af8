// The set of CPUs on which the calling thread may run. Freestanding.
#pragma once

#include <asm/unistd.h>

#include "kernel/raw_syscall.h"

namespace drover::kernel {

class CpuMask {
 public:
  static constexpr uint32_t kCpusMax = 8192;  // CONFIG_NR_CPUS_RANGE_END of x86-64

  // What holds for the calling thread; false: it could not be read.
  [[nodiscard]] bool Read() {
    bytes_ = RawSyscall(__NR_sched_getaffinity, 0, sizeof words_, AddressOf(&words_[0]));
    return bytes_ > 0;
  }
  // Makes it hold for the calling thread.
  void Set() const { SetFor(0); }
  void SetFor(int32_t thread) const {
    RawSyscall(__NR_sched_setaffinity, Arg(thread), static_cast<uint64_t>(bytes_),
               AddressOf(&words_[0]));
  }

  void Add(uint32_t cpu) {
    if (cpu < kCpusMax) words_[cpu / 64] |= Bit(cpu);
  }
  void Remove(uint32_t cpu) {
    if (cpu < kCpusMax) words_[cpu / 64] &= ~Bit(cpu);
  }
  bool IsEmpty() const {
    for (int64_t i = 0; i < bytes_ / 8; ++i)
      if (words_[i] != 0) return false;
    return true;
  }

 private:
  static uint64_t Bit(uint32_t cpu) { return uint64_t{1} << (cpu % 64); }

  uint64_t words_[kCpusMax / 64] = {};
  int64_t bytes_ = sizeof words_;  // that the kernel knows
};

}  // namespace drover::kernel
