#include "migrators/copy_function.h"

#include <cpuid.h>
#include <immintrin.h>

namespace drover::migrators {

// Two cache lines a step: with one, the fill buffers are not kept busy.
void CopyStreaming128(uint64_t target, uint64_t source, uint64_t length_bytes) {
  const auto* from = reinterpret_cast<const __m128i*>(source);
  auto* to = reinterpret_cast<__m128i*>(target);
  for (uint64_t i = 0; i < length_bytes / sizeof(__m128i); i += 8) {
    __m128i line[8];
    for (uint64_t k = 0; k < 8; ++k) line[k] = _mm_load_si128(from + i + k);
    for (uint64_t k = 0; k < 8; ++k) _mm_stream_si128(to + i + k, line[k]);
  }
  _mm_sfence();
}

__attribute__((target("avx2"))) void CopyStreaming256(uint64_t target, uint64_t source,
                                                      uint64_t length_bytes) {
  const auto* from = reinterpret_cast<const __m256i*>(source);
  auto* to = reinterpret_cast<__m256i*>(target);
  for (uint64_t i = 0; i < length_bytes / sizeof(__m256i); i += 4) {
    const __m256i a = _mm256_load_si256(from + i), b = _mm256_load_si256(from + i + 1);
    const __m256i c = _mm256_load_si256(from + i + 2), d = _mm256_load_si256(from + i + 3);
    _mm256_stream_si256(to + i, a);
    _mm256_stream_si256(to + i + 1, b);
    _mm256_stream_si256(to + i + 2, c);
    _mm256_stream_si256(to + i + 3, d);
  }
  _mm_sfence();
}

__attribute__((target("avx512f"))) void CopyStreaming512(uint64_t target, uint64_t source,
                                                         uint64_t length_bytes) {
  const auto* from = reinterpret_cast<const __m512i*>(source);
  auto* to = reinterpret_cast<__m512i*>(target);
  for (uint64_t i = 0; i < length_bytes / sizeof(__m512i); i += 2) {
    const __m512i a = _mm512_load_si512(from + i), b = _mm512_load_si512(from + i + 1);
    _mm512_stream_si512(to + i, a);
    _mm512_stream_si512(to + i + 1, b);
  }
  _mm_sfence();
}

namespace {

// What the kernel saves at a context switch (Intel SDM vol. 1, 13.3: XCR0).
uint64_t SavedRegisters() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace

CopyFunction FastestCopyFunction() {
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xe6;
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return CopyStreaming128;
  const uint64_t saved = SavedRegisters();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return CopyStreaming128;
  if ((b & bit_AVX512F) && (saved & kAvx512State) == kAvx512State) return CopyStreaming512;
  if ((b & bit_AVX2) && (saved & kAvxState) == kAvxState) return CopyStreaming256;
  return CopyStreaming128;
}

}  // namespace drover::migrators
