// The moment from which on a move is in its middle, whatever the machine's speed.
#pragma once

#include <cstdint>
#include <vector>

namespace drover::live {

// Looks at the physical frames of the private mapping that has most memory (needs root).
class FirstMove {
 public:
  explicit FirstMove(int pid);
  // Waits, at most a minute, until one of its first pages lies elsewhere than at construction.
  bool Seen() const;

 private:
  std::vector<uint64_t> Frames(uint64_t pages) const;  // from begin_ on

  int pid_;
  uint64_t begin_ = 0, bytes_ = 0;
  std::vector<uint64_t> before_;
};

}  // namespace drover::live
