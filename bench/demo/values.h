// Random values that can be made again from their seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

namespace drover::demo {

// splitmix64: 8 random bytes per step, every seed a good one.
class RandomBytes {
 public:
  explicit RandomBytes(uint64_t seed) : state_(seed) {}

  void Fill(std::string* value) {
    for (size_t i = 0; i < value->size(); i += sizeof(uint64_t)) {
      const uint64_t word = Next();
      std::memcpy(value->data() + i, &word, std::min(sizeof word, value->size() - i));
    }
  }

 private:
  uint64_t Next() {
    uint64_t mixed = state_ += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  uint64_t state_;
};

}  // namespace drover::demo
