// A process that fills a node, all but so many bytes; of those the guest's kernel keeps some 40 MiB
// to itself.
#pragma once

#include <cstdint>

namespace drover::vm {

class Hog {
 public:
  Hog(int node, uint64_t bytes_left);
  ~Hog();
  Hog(const Hog&) = delete;
  Hog& operator=(const Hog&) = delete;
  bool full() const { return full_; }

 private:
  int child_ = -1;
  bool full_ = false;
};

}  // namespace drover::vm
