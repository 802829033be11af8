// What copy_loops.cc is compiled to: by the names that Highway gives to sets of instructions.
// Freestanding. The caller sees to it that the CPU has them (copy_function.cc).
#pragma once

#include <cstdint>

namespace drover::migrators {

#define DROVER_COPY_LOOPS(set)                                              \
  namespace set {                                                           \
  void CopyStream(uint64_t target, uint64_t source, uint64_t length_bytes); \
  void CopyPlain(uint64_t target, uint64_t source, uint64_t length_bytes);  \
  }
#if defined(__x86_64__)
DROVER_COPY_LOOPS(N_SSE4)
DROVER_COPY_LOOPS(N_AVX2)
DROVER_COPY_LOOPS(N_AVX3)
#elif defined(__aarch64__)
DROVER_COPY_LOOPS(N_NEON)
#endif
#undef DROVER_COPY_LOOPS

}  // namespace drover::migrators
