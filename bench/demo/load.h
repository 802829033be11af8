// Fills database 0 with random values, under the keys that redis-benchmark asks for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "resp.h"

namespace drover::demo {

constexpr size_t kValueBytes = 1000;

// Of so many that their values together have at least `bytes`.
constexpr uint64_t KeysFor(uint64_t bytes) {
  return (bytes + kValueBytes - 1) / kValueBytes;
}

void LoadDatabase(Connection& redis, uint64_t keys, uint64_t seed);

}  // namespace drover::demo
