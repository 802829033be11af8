// A copy of memory of this process by the kernel, which has a mapping of all memory of its own:
// process_vm_readv(2) into a small buffer that stays in the CPU's caches, process_vm_writev(2) from
// there. For pages that no CPU has touched by these addresses, where such a first touch is dear:
// under a hypervisor without nested page tables it takes 6 us for each page, and a move has two of
// them. Else it is slower than a plain copy.
//
// The kernel pins the pages while it copies them (FOLL_PIN), so UFFDIO_MOVE refuses them meanwhile
// (EBUSY): what is still being written cannot become live. A sandbox may forbid both calls, and
// kill for them: whoever uses this looks first (flow/untouched.h). Any thread. Freestanding.
#pragma once

#include <cstdint>

#include "migrators/spec.h"

namespace drover::migrators {

// Of so many bytes at a time: less would be more calls, more would leave the caches.
inline constexpr uint64_t kCopyByKernelStepBytes = 128 << 10;

// Where the buffers are, one for each thread that may copy at a time; 0: there are none, and all is
// copied plainly. Of the engine's, before any thread copies.
inline constexpr uint64_t kCopyBuffersBytes = kThreadsMax * kCopyByKernelStepBytes;
void UseCopyBuffers(uint64_t start);

// A buffer that stays in the caches, this thread's for as long as the object is there.
class CopyBuffer {
 public:
  CopyBuffer();
  ~CopyBuffer();
  CopyBuffer(const CopyBuffer&) = delete;
  CopyBuffer& operator=(const CopyBuffer&) = delete;

  uint64_t start() const;  // 0: all are taken
  // Up to a step. False: not all of it.
  [[nodiscard]] bool Read(uint64_t source, uint64_t length_bytes) const;
  [[nodiscard]] bool Write(uint64_t target, uint64_t length_bytes) const;

 private:
  uint32_t number_ = 0;
  int64_t self_;  // this process
};

// As a CopyFunction. What the kernel refuses is copied plainly.
void CopyByKernel(uint64_t target, uint64_t source, uint64_t length_bytes);

}  // namespace drover::migrators
