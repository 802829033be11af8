#include "migrators/copy_by_kernel.h"

#include <asm/unistd.h>

#include <atomic>

#include "kernel/raw_syscall.h"
#include "migrators/copy_function.h"

namespace drover::migrators {
namespace {

using kernel::AddressOf;
using kernel::Arg;

constexpr uint32_t kBufferCount = kThreadsMax;
std::atomic<uint64_t> buffers = 0;
std::atomic<bool> taken[kBufferCount];

// True: all of it.
bool Transfer(int64_t call, int64_t self, uint64_t here, uint64_t there, uint64_t length) {
  const struct {
    uint64_t start, length;
  } mine{here, length}, other{there, length};
  return here != 0 &&
         kernel::RawSyscallRetry(call, Arg(self), AddressOf(&mine), 1, AddressOf(&other), 1, 0) ==
             static_cast<int64_t>(length);
}

}  // namespace

void UseCopyBuffers(uint64_t start) {
  if (buffers.load(std::memory_order_relaxed) == start) return;
  for (auto& each : taken) each.store(false, std::memory_order_relaxed);  // (as a fork left them)
  buffers.store(start, std::memory_order_release);
}

CopyBuffer::CopyBuffer() : self_(kernel::RawSyscall(__NR_getpid)) {
  for (; number_ < kBufferCount; ++number_)
    if (!taken[number_].load(std::memory_order_relaxed) &&
        !taken[number_].exchange(true, std::memory_order_acquire))
      return;
}

CopyBuffer::~CopyBuffer() {
  if (number_ < kBufferCount) taken[number_].store(false, std::memory_order_release);
}

uint64_t CopyBuffer::start() const {
  const uint64_t all = buffers.load(std::memory_order_acquire);
  return number_ < kBufferCount && all != 0 ? all + number_ * kCopyByKernelStepBytes : 0;
}

bool CopyBuffer::Read(uint64_t source, uint64_t length_bytes) const {
  return Transfer(__NR_process_vm_readv, self_, start(), source, length_bytes);
}

bool CopyBuffer::Write(uint64_t target, uint64_t length_bytes) const {
  return Transfer(__NR_process_vm_writev, self_, start(), target, length_bytes);
}

void CopyByKernel(uint64_t target, uint64_t source, uint64_t length_bytes) {
  const CopyBuffer buffer;
  constexpr uint64_t kMost = kCopyByKernelStepBytes;
  for (uint64_t at = 0; at < length_bytes; at += kMost) {
    const uint64_t step = length_bytes - at < kMost ? length_bytes - at : kMost;
    if (!buffer.Read(source + at, step) || !buffer.Write(target + at, step))
      CopyByRepMovsb(target + at, source + at, step);
  }
}

}  // namespace drover::migrators
