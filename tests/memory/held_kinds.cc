// Private memory that somebody else holds as well: children, other processes, the kernel.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>

#include "memory/kinds.h"

namespace drover::memory {
namespace {

Made WithLivingChild() {
  Made made = Stamped();
  KeepChild();
  return made;
}
Made HugeWithLivingChild() {
  char* start = MapSmall(2 * kHugePage);
  madvise(start, 2 * kHugePage, MADV_HUGEPAGE);
  Stamp(start, 2 * kHugePage);
  KeepChild();
  return {start, 2 * kHugePage};
}
Made WithDeadChild() {
  Made made = Stamped();
  const int child = KeepChild();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return made;
}

// A buffer that is registered with an io_uring stays pinned.
Made FixedBuffer() {
  io_uring_params params = {};
  const int ring = static_cast<int>(syscall(SYS_io_uring_setup, 4, &params));
  if (ring < 0) return Cannot("io_uring is switched off");
  Made made = Stamped();
  const iovec buffer = {made.start, made.bytes};
  if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) != 0)
    return Cannot("the buffer cannot be registered (RLIMIT_MEMLOCK)");
  return made;
}

// References without a pin: pages that wait in a pipe.
Made Spliced() {
  int ends[2];
  if (pipe(ends) != 0) return Cannot("no pipe to be had");
  Made made = Stamped(16);
  const iovec pages = {made.start, made.bytes};
  if (vmsplice(ends[1], &pages, 1, 0) != static_cast<ssize_t>(made.bytes))
    return Cannot("vmsplice is not allowed");
  static const int reader = ends[0];
  // What comes out of the pipe must be what went in.
  static const char* const start = made.start;
  made.works = [] {
    char read_back[16 * kPage] = {};
    const bool all = read(reader, read_back, sizeof read_back) == sizeof read_back;
    return all && std::memcmp(read_back, start, sizeof read_back) == 0;
  };
  return made;
}

std::string FirstWord(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

// One content, which the kernel merges where its daemon runs; the test starts that.
Made Merged() {
  if (FirstWord("/sys/kernel/mm/ksm/run") != "1") return Cannot("KSM is switched off");
  constexpr size_t kBytes = 64 * kPage;
  Made made{MapSmall(kBytes), kBytes, Content::kFilled};
  std::memset(made.start, kFill, kBytes);
  if (madvise(made.start, kBytes, MADV_MERGEABLE) != 0) return Cannot("the kernel has no KSM");
  for (int i = 0; i < 300; ++i) {
    if (FirstWord("/proc/self/ksm_merging_pages") == "64") return made;
    usleep(100'000);
  }
  return Cannot("KSM has not merged the pages in time");
}

// Where there is swap, the kernel is told to use it.
Made SwappedOut() {
  std::ifstream swaps("/proc/swaps");
  std::string line;
  std::getline(swaps, line);
  if (!std::getline(swaps, line)) return Cannot("there is no swap");
  constexpr int kPageOut = 21;  // MADV_PAGEOUT, Linux 5.4
  Made made = Stamped();
  unsigned char resident[64] = {1};
  for (int i = 0; i < 100; ++i) {
    if (madvise(made.start, made.bytes, kPageOut) != 0) return Cannot("MADV_PAGEOUT is refused");
    mincore(made.start, made.bytes, resident);
    bool any = false;
    for (const unsigned char each : resident) any = any || (each & 1) != 0;
    if (!any) return made;
    usleep(20'000);
  }
  return made;  // in the swap cache: looked at by the page table
}

constexpr Kind kHeldKinds[] = {
    {"child-alive", "shared with a living child after fork", WithLivingChild},
    {"child-alive-2m", "2 MiB pages shared with a living child after fork", HugeWithLivingChild},
    {"child-dead", "shared with a child that has ended", WithDeadChild},
    {"fixed-buffer", "registered as a fixed buffer of an io_uring", FixedBuffer},
    {"vmsplice", "vmspliced into a pipe", Spliced},
    {"merged", "merged with equal pages (KSM)", Merged},
    {"swapped", "swapped out", SwappedOut},
};

}  // namespace

std::span<const Kind> HeldKinds() {
  return kHeldKinds;
}

}  // namespace drover::memory
