#include "chaos/ends.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <thread>

namespace drover::chaos {
namespace {

constexpr int kExitCode = 7;

// Forbids userfaultfd to all threads, and nothing else.
bool ShutIn() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(rules), rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

// A thread ends with a robust mutex, which lies in the slice; the next to lock it hears of that.
bool InheritMutex(StormThread& thread) {
  auto* mutex = reinterpret_cast<pthread_mutex_t*>(thread.slice().at(0));
  pthread_mutexattr_t how;
  pthread_mutexattr_init(&how);
  if (pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST) != 0) return false;
  pthread_mutex_init(mutex, &how);
  constexpr int kRounds = 20;
  bool right = true;
  for (int i = 0; i < kRounds && right; ++i) {
    std::thread([mutex] { pthread_mutex_lock(mutex); }).join();
    usleep(1000);
    right = pthread_mutex_lock(mutex) == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0 &&
            pthread_mutex_unlock(mutex) == 0;
  }
  thread.slice().Write(0, thread.random().Next());
  return right;
}

}  // namespace

int EndSo(const std::string& how, StormThread& thread, Tally& tally) {
  constexpr int kTries = 100'000;  // of some microseconds each
  bool inside = false;
  for (int i = 0; i < kTries && !inside; ++i)
    inside = thread.slice().FindAway(thread.random()).has_value();
  if (inside) ++tally.operations[0].inside;
  if (how == "exec") execl("/bin/true", "true", nullptr);
  if (how == "exit") _exit(kExitCode);
  if (how == "kill") kill(getpid(), SIGKILL);
  if (how == "abort") {
    const rlimit much = {64 << 20, 64 << 20};
    setrlimit(RLIMIT_CORE, &much);
    std::abort();
  }
  if (how == "seccomp" && !ShutIn()) return 3;
  if (how == "robust" && !InheritMutex(thread)) return 4;
  if (how == "off") {
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGTERM);
    int signal = 0;
    sigwait(&told, &signal);
  }
  usleep(100'000);
  return thread.IsAllRight() ? 0 : 1;
}

int ExpectedOf(const std::string& how) {
  if (how == "exit") return kExitCode;
  if (how == "kill") return 128 + SIGKILL;
  if (how == "abort") return 128 + SIGABRT;
  return 0;
}

}  // namespace drover::chaos
