// Children, threads, signals and what changes the whole process.
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "chaos/operations.h"

extern char** environ;

namespace drover::chaos {

bool EndsRight(long child) {
  if (child < 0) return false;
  int status = -1;
  while (waitpid(static_cast<pid_t>(child), &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

namespace {

// In the child: every page of the target, and nothing of libc's.
[[noreturn]] void LookAndExit(const Target& target) {
  const uint64_t wrong = target.slice.CountWrong(target.first, target.count);
  syscall(SYS_exit_group, wrong == 0 ? 0 : 1);
  __builtin_unreachable();
}
bool Judge(Target& target, long child) {
  if (child == 0) LookAndExit(target);
  target.wrong = !EndsRight(child);
  return true;
}

bool Fork(Target& target) {
  return Judge(target, fork());
}
bool ForkPlainly(Target& target) {
  return Judge(target, _Fork());
}
bool Clone(Target& target) {
  return Judge(target, syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}
// What no interposer reaches.
bool ForkInline(Target& target) {
  long child;
  asm volatile("syscall" : "=a"(child) : "a"(SYS_fork) : "rcx", "r11", "memory");
  return Judge(target, child);
}
// Its child must find zeros, also where pages are away.
bool ForkWiped(Target& target) {
  if (madvise(target.start(), target.bytes(), MADV_WIPEONFORK) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    target.slice.SetZero(target.first, target.count);
    LookAndExit(target);
  }
  if (!EndsRight(child)) target.wrong = true;
  if (madvise(target.start(), target.bytes(), MADV_KEEPONFORK) != 0) target.wrong = true;
  return true;
}
bool VirtualFork(Target& target) {
  const long child = vfork();
  if (child == 0) _exit(target.slice.CountWrong(target.first, target.count) == 0 ? 0 : 1);
  target.wrong = !EndsRight(child);
  return true;
}
bool Spawn(Target& target) {
  pid_t child = 0;
  char name[] = "true";
  char* arguments[] = {name, nullptr};
  if (posix_spawnp(&child, name, nullptr, nullptr, arguments, environ) != 0) return false;
  target.wrong = !EndsRight(child);
  return true;
}

void* UseStack(void* told) {
  volatile char below[2048];
  for (volatile char& byte : below) byte = 1;
  return told;
}
// A thread whose stack, and with it its control block, lies in the pages.
bool ThreadThere(Target& target) {
  constexpr uint64_t kStack = 8;
  if (target.first + kStack > target.slice.pages()) target.first -= kStack;
  target.count = std::max(target.count, kStack);
  if (target.first + target.count > target.slice.pages()) target.count = kStack;
  pthread_attr_t how;
  pthread_t thread;
  pthread_attr_init(&how);
  const bool set = pthread_attr_setstack(&how, target.start(), target.bytes()) == 0;
  void* told = nullptr;
  if (!set || pthread_create(&thread, &how, UseStack, &target) != 0) return false;
  pthread_join(thread, &told);
  pthread_attr_destroy(&how);
  if (told != &target) target.wrong = true;
  for (uint64_t i = 0; i < target.count; ++i)
    target.slice.Write(target.first + i, target.random.Next());
  return true;
}
void* WaitForEver(void*) {
  for (;;) pause();
}
bool CancelThread(Target& target) {
  pthread_t thread;
  void* told = nullptr;
  if (pthread_create(&thread, nullptr, WaitForEver, nullptr) != 0) return false;
  pthread_cancel(thread);
  pthread_join(thread, &told);
  if (told != PTHREAD_CANCELED) target.wrong = true;
  return true;
}

thread_local volatile sig_atomic_t handled = 0;
void Handle(int) {
  volatile char below[512];
  for (volatile char& byte : below) byte = 1;
  handled = handled + 1;
}
// A handler on an alternate stack that lies in the pages.
bool Signal(Target& target) {
  constexpr uint64_t kStack = 4;
  if (target.first + kStack > target.slice.pages()) target.first -= kStack;
  target.count = kStack;
  struct sigaction action = {};
  action.sa_handler = Handle;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, nullptr);
  const stack_t there = {target.start(), 0, target.bytes()};
  stack_t before = {};
  if (sigaltstack(&there, &before) != 0) return false;
  const int count = handled;
  pthread_kill(pthread_self(), SIGUSR2);
  if (handled != count + 1) target.wrong = true;
  sigaltstack(&before, nullptr);
  for (uint64_t i = 0; i < target.count; ++i)
    target.slice.Write(target.first + i, target.random.Next());
  return true;
}

bool SetIdentity(Target& target) {
  if (setuid(getuid()) != 0 || setgid(getgid()) != 0) target.wrong = true;
  return true;
}
bool SetGroups(Target&) {
  return setgroups(0, nullptr) == 0;
}
bool CloseDescriptors(Target&) {
  constexpr unsigned kOwn = 500;  // the storm's own are below
  return syscall(SYS_close_range, kOwn, ~0u, 0) == 0;
}

constexpr Operation kProcessOperations[] = {
    {"fork", Fork},
    {"_Fork", ForkPlainly},
    {"clone", Clone},
    {"fork-inline", ForkInline},
    {"fork-wiped", ForkWiped},
    {"vfork", VirtualFork},
    {"posix_spawn", Spawn},
    {"thread-there", ThreadThere},
    {"thread-cancel", CancelThread},
    {"signal-there", Signal},
    {"set-identity", SetIdentity},
    {"set-groups", SetGroups},
    {"close-descriptors", CloseDescriptors},
};

}  // namespace

std::span<const Operation> ProcessOperations() {
  return kProcessOperations;
}

}  // namespace drover::chaos
