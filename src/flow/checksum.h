// A checksum of one page, to notice that it has changed; no protection against intent.
#pragma once

#include <bit>

#include "kernel/types.h"

namespace drover::flow {

// As FNV-1a, over 64-bit words, in four lanes so that the multiplications overlap, and with a
// rotation that brings the high bits down to where a multiplication spreads them. Each step is a
// bijection, so that two pages which differ in one word never have the same sum. `*equal` says
// whether the page at `other` reads the same.
inline uint64_t CompareAndSum(uint64_t page, uint64_t other, bool* equal) {
  using Word [[gnu::may_alias]] = uint64_t;
  constexpr uint64_t kPrime = 0x100000001b3, kBasis = 0xcbf29ce484222325;
  constexpr int kRotation = 29;
  const auto* words = reinterpret_cast<const Word*>(page);
  const auto* others = reinterpret_cast<const Word*>(other);
  uint64_t lanes[4] = {kBasis, kBasis + 1, kBasis + 2, kBasis + 3};
  uint64_t difference = 0;
  for (uint64_t i = 0; i < kPageBytes / sizeof(Word); i += 4)
    for (uint64_t k = 0; k < 4; ++k) {
      const uint64_t word = words[i + k];
      difference |= word ^ others[i + k];
      lanes[k] = std::rotl((lanes[k] ^ word) * kPrime, kRotation);
    }
  uint64_t sum = lanes[0];
  for (uint64_t k = 1; k < 4; ++k) sum = std::rotl((sum ^ lanes[k]) * kPrime, kRotation);
  *equal = difference == 0;
  return sum;
}

inline uint64_t ChecksumOfPage(uint64_t page) {
  bool equal;
  return CompareAndSum(page, page, &equal);
}

}  // namespace drover::flow
