// Whether this kernel has zero pages. (Kernels made for snapshots of virtual machines have been
// seen that give what is only read a page of its own.)
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace drover::live {

// Are two pages that were only read one frame? Needs the right to see frames.
inline bool HasZeroPages() {
  constexpr size_t kPage = 4096;
  constexpr uint64_t kFrame = (uint64_t{1} << 55) - 1;
  void* const at =
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return true;
  madvise(at, 2 * kPage, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < 2; ++i) (void)static_cast<volatile char*>(at)[i * kPage];
  uint64_t entries[2] = {};
  const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const auto offset = reinterpret_cast<uintptr_t>(at) / kPage * sizeof entries[0];
  const bool seen = pread(pagemap, entries, sizeof entries, static_cast<off_t>(offset)) ==
                    static_cast<ssize_t>(sizeof entries);
  close(pagemap);
  munmap(at, 2 * kPage);
  return !seen || (entries[0] & kFrame) == (entries[1] & kFrame);
}

}  // namespace drover::live
