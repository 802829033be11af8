// A file of a FUSE file system of the test's own, whose reads wait until they are let go.
#pragma once

#include <cstddef>
#include <string>

namespace drover::memory {

class HeldFile {
 public:
  // Served by a child, in a mount namespace of this process's own. `direct`: the server asks for
  // direct I/O, whatever the flags of the open are.
  HeldFile(int open_flags, bool direct);

  const std::string& cannot() const { return cannot_; }  // empty: it is open
  int descriptor() const { return descriptor_; }
  // Waits until the server has a read in hand.
  void AwaitRead() const;
  // Answers it: every byte is kFill.
  void LetGo() const;

 private:
  std::string cannot_;
  int descriptor_ = -1, has_read_ = -1, let_go_ = -1;
};

}  // namespace drover::memory
