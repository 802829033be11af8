#include "vm/hog.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "vm/kernels_account.h"

namespace drover::vm {
namespace {

bool Take(int node, uint64_t bytes) {
  const uint64_t mask = uint64_t{1} << node;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory != MAP_FAILED && syscall(SYS_mbind, memory, bytes, MPOL_BIND, &mask, 64, 0) == 0 &&
         madvise(memory, bytes, MADV_HUGEPAGE) == 0 &&
         madvise(memory, bytes, MADV_POPULATE_WRITE) == 0;
}

// What has ended before gives its memory back late, and the kernel frees some when little is left:
// so it looks again.
[[noreturn]] void Fill(int node, uint64_t bytes_left, int ready) {
  constexpr uint64_t kNear = 2u << 20;
  constexpr int kLooks = 5;
  std::ofstream("/proc/self/oom_score_adj") << 1000;  // if anybody must go
  for (int i = 0; i < kLooks; ++i) {
    const uint64_t free = FreeBytesOnNode(node);
    if (free > bytes_left + kNear && !Take(node, free - bytes_left)) std::_Exit(1);
    usleep(100'000);
  }
  if (write(ready, "x", 1) != 1) std::_Exit(1);
  for (;;) pause();
}

}  // namespace

Hog::Hog(int node, uint64_t bytes_left) {
  int ready[2];
  if (FreeBytesOnNode(node) <= bytes_left || pipe2(ready, O_CLOEXEC) != 0) return;
  child_ = fork();
  if (child_ == 0) Fill(node, bytes_left, ready[1]);
  close(ready[1]);
  char byte;
  full_ = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
}

Hog::~Hog() {
  if (child_ <= 0) return;
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

}  // namespace drover::vm
