#include "live/uses.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace drover::live {
namespace {

int PauseForEver(void*) {
  for (;;) pause();
}

bool StartRawThread() {
  constexpr size_t kStackBytes = 64 << 10;
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  return clone(PauseForEver, static_cast<char*>(stack) + kStackBytes,
               CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
               nullptr) > 0;
}

// Allows everything.
bool PutFilter() {
  sock_filter program[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter = {1, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0;
}

// 64 pages of one content, for KSM to merge.
bool OfferEqualPages() {
  constexpr size_t kBytes = 64 * 4096;
  void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memset(pages, 0x5a, kBytes);
  return madvise(pages, kBytes, MADV_MERGEABLE) == 0;
}

}  // namespace

bool StartUsing(const std::string& what) {
  static pthread_mutex_t mutex;
  static uint32_t word = 0;
  pthread_mutexattr_t how;
  pthread_mutexattr_init(&how);
  if (what == "pi")
    return pthread_mutexattr_setprotocol(&how, PTHREAD_PRIO_INHERIT) == 0 &&
           pthread_mutex_init(&mutex, &how) == 0 && pthread_mutex_lock(&mutex) == 0;
  if (what == "robust")
    return pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) == 0 &&
           pthread_mutex_init(&mutex, &how) == 0 && pthread_mutex_lock(&mutex) == 0;
  if (what == "pi_futex") return syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, nullptr) == 0;
  if (what == "fuse") return open("/dev/fuse", O_RDWR) >= 0;
  if (what == "kvm") return open("/dev/kvm", O_RDWR) >= 0;
  if (what == "xdp") return socket(AF_XDP, SOCK_RAW, 0) >= 0;
  if (what == "userfaultfd") return syscall(SYS_userfaultfd, O_CLOEXEC) >= 0;
  if (what == "raw_thread") return StartRawThread();
  if (what == "seccomp") return PutFilter();
  if (what == "nobody")
    return setgroups(0, nullptr) == 0 && setgid(65534) == 0 && setuid(65534) == 0;
  if (what == "no_huge_pages") {  // with some of them there
    constexpr size_t kBytes = 8 << 20;
    void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(pages, kBytes, MADV_HUGEPAGE);
    std::memset(pages, 1, kBytes);
    return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0;
  }
  if (what == "exec") return execl("/bin/sleep", "sleep", "60", nullptr) == 0;
  if (what == "equal_pages") return OfferEqualPages();
  return false;
}

}  // namespace drover::live
