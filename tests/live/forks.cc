#include "live/forks.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

extern char** environ;

namespace drover::live {
namespace {

constexpr size_t kBytes = 4 << 20;
constexpr size_t kStackBytes = 64 << 10;
const volatile uint64_t* words = nullptr;

bool AllRight() {
  for (size_t i = 0; i < kBytes / 8; ++i)
    if (words[i] != i + 1) return false;
  return true;
}

[[noreturn]] void LookAndExit() {
  syscall(SYS_exit_group, AllRight() ? 0 : 1);
  __builtin_unreachable();
}

// What no interposer reaches.
long ForkInline() {
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(SYS_fork) : "rcx", "r11", "memory");
  return result;
}

int WaitFor(long child) {
  int status = -1;
  waitpid(static_cast<pid_t>(child), &status, 0);
  return status;
}

void Count(ForkTally& tally, int status) {
  ++tally.children;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++tally.wrong;
}

}  // namespace

ForkTally ForkEveryWay(uint64_t rounds) {
  auto* memory = static_cast<uint64_t*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (size_t i = 0; i < kBytes / 8; ++i) memory[i] = i + 1;
  words = memory;
  void* stack =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ForkTally tally;
  for (uint64_t round = 0; round < rounds; ++round) {
    long child = fork();
    if (child == 0) LookAndExit();
    Count(tally, WaitFor(child));

    child = _Fork();
    if (child == 0) LookAndExit();
    Count(tally, WaitFor(child));

    Count(tally, system("true"));

    pid_t spawned = 0;
    char name[] = "true";
    char* arguments[] = {name, nullptr};
    const bool started = posix_spawnp(&spawned, name, nullptr, nullptr, arguments, environ) == 0;
    Count(tally, started ? WaitFor(spawned) : -1);

    child = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (child == 0) LookAndExit();
    Count(tally, WaitFor(child));

    const auto look = [](void*) -> int { return AllRight() ? 0 : 1; };
    child = clone(look, static_cast<char*>(stack) + kStackBytes, SIGCHLD, nullptr);
    Count(tally, WaitFor(child));

    child = ForkInline();
    if (child == 0) LookAndExit();
    const int status = WaitFor(child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) {
      ++tally.children;
      ++tally.without_mapping;
    } else {
      Count(tally, status);
    }
    // The parent writes, so that its pages are its own again and move on.
    for (size_t i = 0; i < kBytes / 8; i += 512) memory[i] = i + 1;
  }
  return tally;
}

}  // namespace drover::live
