// How much memory the target pool may still take: the least free below every limit above the
// process, and above the target node's low watermark. Populating beyond a cgroup's limit does not
// fail, it kills the application; so the pool looks first.
#pragma once

#include "flow/limits.h"
#include "kernel/kernel.h"

namespace drover::flow {

class Headroom {
 public:
  // May `bytes` more be faulted in on `node`? True only while twice that is free. Believes a look
  // for kHeadroomAgeNs, less what it has granted since.
  [[nodiscard]] bool Grants(kernel::Kernel& kernel, Node node, uint64_t bytes);
  // How many bytes it would grant there.
  [[nodiscard]] uint64_t Room(kernel::Kernel& kernel, Node node);

 private:
  struct Look {
    Node node;
    uint64_t ns = 0;  // 0: none
    uint64_t free_bytes = 0;
  };
  // One that need not be taken again where it says that so much is free.
  Look& At(kernel::Kernel& kernel, Node node, uint64_t enough_bytes);

  Look looks_[2];  // a job that exchanges memory looks at two nodes by turns
  uint32_t last_ = 0;
};

// The least number of bytes free below all memory limits of the process's control groups, version
// 1 and 2; ~0: there is none. `pid` 0: the calling process.
uint64_t FreeBelowGroupLimits(kernel::Kernel& kernel, int32_t pid);
// Bytes free on the node above its low watermark (all nodes for an invalid one).
uint64_t FreeOnNode(kernel::Kernel& kernel, Node node);

}  // namespace drover::flow
