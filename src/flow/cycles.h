// The CPU's own clock, for those who look at windows from outside.
#pragma once

#include <cstdint>

namespace drover::flow {

// Time stamp counter; the same on all CPUs of the machines that drover runs on (constant_tsc). 0
// where there is none.
inline uint64_t Cycles() {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

}  // namespace drover::flow
