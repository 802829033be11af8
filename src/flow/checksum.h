// A checksum of one page, to notice that it has changed; no protection against intent.
#pragma once

#include "kernel/types.h"

namespace drover::flow {

// FNV-1a over 64-bit words, in four lanes so that the multiplications overlap. Each step is a
// bijection, so that two pages which differ in one word never have the same sum.
inline uint64_t ChecksumOfPage(uint64_t address) {
  using Word [[gnu::may_alias]] = uint64_t;
  constexpr uint64_t kPrime = 0x100000001b3, kBasis = 0xcbf29ce484222325;
  const auto* words = reinterpret_cast<const Word*>(address);
  uint64_t lanes[4] = {kBasis, kBasis + 1, kBasis + 2, kBasis + 3};
  for (uint64_t i = 0; i < kPageBytes / sizeof(Word); i += 4)
    for (uint64_t k = 0; k < 4; ++k) lanes[k] = (lanes[k] ^ words[i + k]) * kPrime;
  uint64_t sum = lanes[0];
  for (uint64_t k = 1; k < 4; ++k) sum = (sum ^ lanes[k]) * kPrime;
  return sum;
}

}  // namespace drover::flow
