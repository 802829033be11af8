#include "agent/system_calls.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <string_view>

#include "flow/text.h"
#include "kernel/raw_syscall.h"

namespace drover::agent {
namespace {

using kernel::AddressOf;
using kernel::Arg;
using kernel::RawSyscall;

// Each call with arguments that make it fail harmlessly, and how it fails where no filter stands
// before it. A filter answers before the kernel looks at the arguments.
struct Trial {
  uint32_t number;
  uint64_t a, b, c, d, e, f;
  int32_t answer;
};
constexpr uint64_t kNone = ~uint64_t{0};  // no descriptor
constexpr int32_t kEbadf = -9, kEinval = -22, kEfault = -14, kEafnosupport = -97;
constexpr Trial kTrials[] = {
    {__NR_userfaultfd, 0x1001, 0, 0, 0, 0, 0, kEinval},  // USER_MODE_ONLY and an unknown flag
    {__NR_ioctl, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_mmap, 0, 0, 0, 0x22, kNone, 0, kEinval},
    {__NR_munmap, 1, 4096, 0, 0, 0, 0, kEinval},
    {__NR_madvise, 1, 4096, 4, 0, 0, 0, kEinval},
    {__NR_mprotect, 1, 4096, 1, 0, 0, 0, kEinval},
    {__NR_munlock, 0, 0, 0, 0, 0, 0, 0},
    {__NR_move_pages, 0, 0, 0, 0, 0, 0xff, kEinval},
    {__NR_mbind, 1, 4096, 0, 0, 0, 0, kEinval},
    {__NR_close_range, 10, 5, 0, 0, 0, 0, kEinval},
    {__NR_get_robust_list, 0, 0, 0, 0, 0, 0, kEfault},
    {__NR_socket, 0xffff, 0, 0, 0, 0, 0, kEafnosupport},
    {__NR_bind, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_listen, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_accept4, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_sendmsg, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_recvmsg, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_getsockopt, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_pread64, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_getdents64, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_dup2, kNone, 0, 0, 0, 0, 0, kEbadf},
    {__NR_eventfd2, 0, 0x10, 0, 0, 0, 0, kEinval},
    {__NR_signalfd4, kNone, 0, 0, 0, 0, 0, kEinval},
    {__NR_poll, 0, 0, 0, 0, 0, 0, 0},
    {__NR_getcpu, 0, 0, 0, 0, 0, 0, 0},
    {__NR_getrusage, 99, 0, 0, 0, 0, 0, kEinval},
    {__NR_sched_setscheduler, 0, 99, 0, 0, 0, 0, kEinval},
    {__NR_sched_getaffinity, 0, 1, 0, 0, 0, 0, kEinval},
    {__NR_sched_setaffinity, 0, 0, 0, 0, 0, 0, kEinval},
    {__NR_readlink, 0, 0, 1, 0, 0, 0, kEfault},
    {__NR_mkdir, 0, 0, 0, 0, 0, 0, kEfault},
    {__NR_unlink, 0, 0, 0, 0, 0, 0, kEfault},
};
constexpr uint32_t kTrialCount = sizeof kTrials / sizeof kTrials[0];

}  // namespace

bool HasFilter() {
  char text[4096];
  const int64_t file =
      RawSyscall(__NR_openat, Arg(AT_FDCWD), AddressOf("/proc/self/status"), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const int64_t got = RawSyscall(__NR_read, Arg(file), AddressOf(&text[0]), sizeof text);
  RawSyscall(__NR_close, Arg(file));
  if (got <= 0) return false;
  std::string_view rest(text, static_cast<size_t>(got)), line;
  while (flow::EatLine(&rest, &line)) {
    uint64_t mode;
    if (flow::EatWord(&line, "Seccomp:")) return flow::EatNumber(&line, &mode) && mode != 0;
  }
  return false;
}

uint32_t FirstForbiddenCall() {
  // The child tells how far it came through a page that both see.
  const int64_t mapped =
      RawSyscall(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, kNone, 0);
  if (mapped < 0 && mapped > -4096) return __NR_mmap;
  auto* reached = reinterpret_cast<volatile uint32_t*>(mapped);
  // No exit signal: the program must not see a child that it did not make.
  const int64_t child = RawSyscall(__NR_clone, 0, 0, 0, 0, 0);
  if (child < 0) return __NR_clone;
  if (child == 0) {
    for (uint32_t i = 0; i < kTrialCount; ++i) {
      *reached = i;
      const Trial& t = kTrials[i];
      if (RawSyscall(t.number, t.a, t.b, t.c, t.d, t.e, t.f) != t.answer) RawSyscall(__NR_exit, 1);
    }
    *reached = kTrialCount;
    RawSyscall(__NR_exit, 0);
  }
  constexpr uint64_t kWaitClone = 0x80000000;  // __WCLONE: it has no exit signal
  int32_t status = 0;
  kernel::RawSyscallRetry(__NR_wait4, Arg(child), AddressOf(&status), kWaitClone, 0);
  const uint32_t at = *reached;
  RawSyscall(__NR_munmap, Arg(mapped), 4096);
  return at == kTrialCount ? 0 : kTrials[at].number;
}

}  // namespace drover::agent
