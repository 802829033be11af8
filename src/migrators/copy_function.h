// Copy functions for whole pages, and which of them this machine can use. Freestanding.
#pragma once

#include <string_view>

#include "migrators/migrator.h"

namespace drover::migrators {

// Non-temporal stores of vectors ("stream") do not displace the application's cache lines; ordinary
// ones; `rep movsb`; libc's memcpy, where there is one. Which is fastest `drover tune` measures.
enum class CopyWay : uint8_t {
  kStream128,
  kStream256,
  kStream512,
  kPlain128,
  kPlain256,
  kPlain512,
  kRepMovsb,
  kMemcpy,
  kCount
};
inline constexpr uint32_t kCopyWayCount = static_cast<uint32_t>(CopyWay::kCount);
std::string_view NameOf(CopyWay way);

// Has the CPU the instructions, does the kernel save the registers (XCR0), and is this the place?
[[nodiscard]] bool IsSupported(CopyWay way);
[[nodiscard]] CopyFunction FunctionOf(CopyWay way);  // that is supported

// What a job asks for; kCount: as the house has chosen.
struct CopyWays {
  CopyWay small = CopyWay::kCount, large = CopyWay::kCount;
  uint64_t large_from_bytes = 0;
};
// What this machine has not is as the house has chosen.
[[nodiscard]] CopyFunctions FunctionsOf(const CopyWays& ways, const CopyFunctions& house);

// One with nothing to find out about the CPU.
void CopyByRepMovsb(uint64_t target, uint64_t source, uint64_t length_bytes);

// The widest non-temporal one: what is used as long as nobody has measured.
[[nodiscard]] CopyWay DefaultCopyWay();
[[nodiscard]] inline CopyFunction FastestCopyFunction() {
  return FunctionOf(DefaultCopyWay());
}

}  // namespace drover::migrators
