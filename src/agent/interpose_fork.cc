// Making processes. A child would read zeros where pages are away. With fork events the
// engine fills its holes; without the right to them a fork waits for the batch boundary. (A child
// that shares its parent's memory, as of vfork and posix_spawn, waits in holes like a thread.)
#include <pty.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "flow/job.h"

namespace drover::agent {
namespace {

using flow::SetOf;
using flow::StandBackFrom;

Hooked<int(int, int)> real_daemon{"daemon"};
Hooked<int(int*, char*, const termios*, const winsize*)> real_forkpty{"forkpty"};
Hooked<pid_t()> real_fork{"fork"}, real_Fork{"_Fork"};
Hooked<int(int (*)(void*), void*, int, void*, ...)> real_clone{"clone"};

pid_t ForkAtTheBoundary(Hooked<pid_t()>& real) {
  if (!ForkIsGated()) return real.get()();
  const Passage passage;
  const pid_t child = real.get()();
  if (child == 0) ForgetGate();
  return child;
}

}  // namespace

void ResolveFork() {
  real_daemon.get();
  real_forkpty.get();
  real_fork.get();
  real_Fork.get();
  real_clone.get();
}

bool CopiesMemory(long number, const uint64_t* a) {
  switch (number) {
    case SYS_fork:
      return true;
    case SYS_clone:
      return (a[0] & CLONE_VM) == 0;
    case SYS_clone3:
      return a[0] >= (64u << 10) && a[0] < uint64_t{1} << 47 &&
             (*reinterpret_cast<const uint64_t*>(a[0]) & CLONE_VM) == 0;
    default:
      return false;
  }
}

}  // namespace drover::agent

using namespace drover::agent;
using drover::flow::SetOf;
using drover::flow::StandBackFrom;

// These fork inside libc.
DROVER_EXPORT int daemon(int stay, int keep_open) noexcept {
  if (!ForkIsGated()) return real_daemon.get()(stay, keep_open);
  EnterGate();
  const int result = real_daemon.get()(stay, keep_open);  // the parent has ended
  if (result != 0) LeaveGate();
  return result;
}
DROVER_EXPORT int forkpty(int* terminal, char* name, const termios* how,
                          const winsize* size) noexcept {
  if (!ForkIsGated()) return real_forkpty.get()(terminal, name, how, size);
  const Passage passage;
  const int child = real_forkpty.get()(terminal, name, how, size);
  if (child == 0) ForgetGate();
  return child;
}

DROVER_EXPORT pid_t fork() noexcept {
  return ForkAtTheBoundary(real_fork);
}
DROVER_EXPORT pid_t _Fork() noexcept {
  return ForkAtTheBoundary(real_Fork);
}

DROVER_EXPORT int clone(int (*run)(void*), void* stack, int flags, void* with, ...) noexcept {
  va_list rest;
  va_start(rest, with);
  void* parent_id = va_arg(rest, void*);
  void* storage = va_arg(rest, void*);
  void* child_id = va_arg(rest, void*);
  va_end(rest);
  const auto call = [&] {
    return real_clone.get()(run, stack, flags, with, parent_id, storage, child_id);
  };
  const bool thread = (flags & CLONE_THREAD) != 0;
  const bool copies = (flags & CLONE_VM) == 0 && ForkIsGated();
  if (!thread && !copies) return call();
  const Passage passage;
  if (thread) NoteCall(SetOf(StandBackFrom::kRawThreads));
  return call();
}
