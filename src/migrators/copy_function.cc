#include "migrators/copy_function.h"

#include <cpuid.h>

#include <iterator>

#include "migrators/copy_loops.h"

namespace drover::migrators {
namespace {

constexpr std::string_view kNames[] = {"stream-128", "stream-256", "stream-512", "plain-128",
                                       "plain-256",  "plain-512",  "rep-movsb",  "memcpy"};
static_assert(std::size(kNames) == kCopyWayCount);

#if __STDC_HOSTED__
void CopyByMemcpy(uint64_t target, uint64_t source, uint64_t length_bytes) {
  __builtin_memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source),
                   length_bytes);
}
#endif

// What the kernel saves at a context switch (Intel SDM vol. 1, 13.3: XCR0).
uint64_t SavedRegisters() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// The bits that a set of instructions needs, as Highway compiles for it (hwy/ops/set_macros-inl.h).
constexpr uint32_t kSse4Bits = bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_PCLMUL | bit_AES;
constexpr uint32_t kAvx2Bits1 = kSse4Bits | bit_AVX | bit_FMA | bit_F16C | bit_OSXSAVE;
constexpr uint32_t kAvx2Bits7 = bit_AVX2 | bit_BMI | bit_BMI2;
constexpr uint32_t kAvx3Bits7 =
    kAvx2Bits7 | bit_AVX512F | bit_AVX512VL | bit_AVX512DQ | bit_AVX512BW | bit_AVX512CD;
constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xe6;

// Width of the vectors that may be used, in bits; 0: none of these.
uint32_t VectorBits() {
  uint32_t a, b, c, d, c1;
  if (!__get_cpuid(1, &a, &b, &c1, &d) || (c1 & kSse4Bits) != kSse4Bits) return 0;
  if ((c1 & kAvx2Bits1) != kAvx2Bits1) return 128;
  const uint64_t saved = SavedRegisters();
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 128;
  if ((b & kAvx3Bits7) == kAvx3Bits7 && (saved & kAvx512State) == kAvx512State) return 512;
  return (b & kAvx2Bits7) == kAvx2Bits7 && (saved & kAvxState) == kAvxState ? 256 : 128;
}

}  // namespace

void CopyByRepMovsb(uint64_t target, uint64_t source, uint64_t length_bytes) {
  asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(length_bytes) : : "memory");
}

std::string_view NameOf(CopyWay way) {
  return kNames[static_cast<uint32_t>(way)];
}

bool IsSupported(CopyWay way) {
  switch (way) {
    case CopyWay::kStream128:
    case CopyWay::kPlain128:
      return VectorBits() >= 128;
    case CopyWay::kStream256:
    case CopyWay::kPlain256:
      return VectorBits() >= 256;
    case CopyWay::kStream512:
    case CopyWay::kPlain512:
      return VectorBits() >= 512;
    case CopyWay::kMemcpy:
      return __STDC_HOSTED__ != 0;
    default:
      return way == CopyWay::kRepMovsb;
  }
}

CopyFunction FunctionOf(CopyWay way) {
  switch (way) {
    case CopyWay::kStream128:
      return N_SSE4::CopyStream;
    case CopyWay::kStream256:
      return N_AVX2::CopyStream;
    case CopyWay::kStream512:
      return N_AVX3::CopyStream;
    case CopyWay::kPlain128:
      return N_SSE4::CopyPlain;
    case CopyWay::kPlain256:
      return N_AVX2::CopyPlain;
    case CopyWay::kPlain512:
      return N_AVX3::CopyPlain;
#if __STDC_HOSTED__
    case CopyWay::kMemcpy:
      return CopyByMemcpy;
#endif
    default:
      return CopyByRepMovsb;
  }
}

CopyFunctions FunctionsOf(const CopyWays& ways, const CopyFunctions& house) {
  CopyFunctions functions = house;
  const auto is_known = [](CopyWay way) { return way < CopyWay::kCount && IsSupported(way); };
  if (!is_known(ways.small) || !is_known(ways.large)) return functions;
  functions.small = FunctionOf(ways.small);
  functions.large = FunctionOf(ways.large);
  functions.large_from_bytes = ways.large_from_bytes;
  return functions;
}

CopyWay DefaultCopyWay() {
  const uint32_t bits = VectorBits();
  if (bits >= 512) return CopyWay::kStream512;
  if (bits >= 256) return CopyWay::kStream256;
  return bits >= 128 ? CopyWay::kStream128 : CopyWay::kRepMovsb;
}

}  // namespace drover::migrators
