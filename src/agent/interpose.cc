// The calls of the program that meet the agent. Each does what libc's does; around it stand the
// gate, the handing over of an identity, or the agent's end.
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "flow/rules.h"
#include "kernel/raw_syscall.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace drover::agent {
namespace {

// libc's own functions. A hook that runs before the constructor resolves its own.
template <class Function>
struct Hooked {
  Function* function = nullptr;
  const char* name;
  explicit constexpr Hooked(const char* n) : name(n) {}
  Function* get() {
    if (function == nullptr) function = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
    return function;
  }
};

Hooked<int(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*)> real_pthread_create{
    "pthread_create"};
Hooked<int(uid_t)> real_setuid{"setuid"}, real_seteuid{"seteuid"};
Hooked<int(gid_t)> real_setgid{"setgid"}, real_setegid{"setegid"};
Hooked<int(uid_t, uid_t)> real_setreuid{"setreuid"};
Hooked<int(gid_t, gid_t)> real_setregid{"setregid"};
Hooked<int(uid_t, uid_t, uid_t)> real_setresuid{"setresuid"};
Hooked<int(gid_t, gid_t, gid_t)> real_setresgid{"setresgid"};
Hooked<int(size_t, const gid_t*)> real_setgroups{"setgroups"};
Hooked<int(const char*, gid_t)> real_initgroups{"initgroups"};

// The result of a raw call in libc's form.
long InErrno(long result) {
  if (result < 0 && result > -4096) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return result;
}

template <class Function, class... Arguments>
int ChangeIdentity(Hooked<Function>& real, Arguments... arguments) {
  int result;
  {
    const Passage passage;
    result = real.get()(arguments...);
  }
  const int error = errno;
  if (result == 0) ShareIdentity();
  errno = error;
  return result;
}

bool ChangesIdentity(long number) {
  switch (number) {
    case SYS_setuid:
    case SYS_setgid:
    case SYS_setreuid:
    case SYS_setregid:
    case SYS_setresuid:
    case SYS_setresgid:
    case SYS_setgroups:
    case SYS_capset:
      return true;
    default:
      return false;
  }
}

// Calls after which an engine thread would have more rights than the program, or that fail in a
// process with several threads.
bool NeedsAgentGone(long number, long first) {
  if (!flow::RuleHolds(flow::Rule::kEndFirst)) return false;
  constexpr long kLandlockRestrictSelf = 446;
  switch (number) {
    case SYS_unshare:
      return (first & CLONE_NEWUSER) != 0;
    case SYS_setns:
    case SYS_seccomp:
    case kLandlockRestrictSelf:
      return true;
    case SYS_prctl:
      return first == PR_SET_SECCOMP;
    default:
      return false;
  }
}

}  // namespace

void ResolveHooked() {
  real_pthread_create.get();
  for (auto* real : {&real_setuid, &real_seteuid}) real->get();
  for (auto* real : {&real_setgid, &real_setegid}) real->get();
  real_setreuid.get();
  real_setregid.get();
  real_setresuid.get();
  real_setresgid.get();
  real_setgroups.get();
  real_initgroups.get();
}

}  // namespace drover::agent

using namespace drover::agent;
using drover::kernel::RawSyscall;

// A registered batch splits its mapping, and an mremap over such a border fails, from Linux 6.17 on
// after it has moved a part.
EXPORT void* mremap(void* old, size_t length, size_t wanted, int flags, ...) noexcept {
  va_list rest;
  va_start(rest, flags);
  void* target = (flags & (MREMAP_FIXED | 4 /* DONTUNMAP */)) ? va_arg(rest, void*) : nullptr;
  va_end(rest);
  const Passage passage;
  return reinterpret_cast<void*>(
      InErrno(RawSyscall(__NR_mremap, reinterpret_cast<uint64_t>(old), length, wanted,
                         static_cast<uint64_t>(flags), reinterpret_cast<uint64_t>(target))));
}

// A thread that is made between the look for control blocks and the end of the window would be
// missed, and its join might hang.
EXPORT int pthread_create(pthread_t* thread, const pthread_attr_t* how, void* (*run)(void*),
                          void* with) noexcept {
  const Passage passage;
  const int result = real_pthread_create.get()(thread, how, run, with);
  // A pthread_t is the address of the control block.
  if (result == 0 && passage.shared() != nullptr)
    passage.shared()->young.Add(static_cast<uint64_t>(*thread));
  return result;
}

EXPORT int setuid(uid_t user) noexcept {
  return ChangeIdentity(real_setuid, user);
}
EXPORT int seteuid(uid_t user) noexcept {
  return ChangeIdentity(real_seteuid, user);
}
EXPORT int setgid(gid_t group) noexcept {
  return ChangeIdentity(real_setgid, group);
}
EXPORT int setegid(gid_t group) noexcept {
  return ChangeIdentity(real_setegid, group);
}
EXPORT int setreuid(uid_t real, uid_t effective) noexcept {
  return ChangeIdentity(real_setreuid, real, effective);
}
EXPORT int setregid(gid_t real, gid_t effective) noexcept {
  return ChangeIdentity(real_setregid, real, effective);
}
EXPORT int setresuid(uid_t real, uid_t effective, uid_t saved) noexcept {
  return ChangeIdentity(real_setresuid, real, effective, saved);
}
EXPORT int setresgid(gid_t real, gid_t effective, gid_t saved) noexcept {
  return ChangeIdentity(real_setresgid, real, effective, saved);
}
EXPORT int setgroups(size_t count, const gid_t* groups) noexcept {
  return ChangeIdentity(real_setgroups, count, groups);
}
EXPORT int initgroups(const char* user, gid_t group) {
  return ChangeIdentity(real_initgroups, user, group);
}
EXPORT int capset(void* header, const void* data) noexcept {
  const long result = InErrno(RawSyscall(__NR_capset, reinterpret_cast<uint64_t>(header),
                                         reinterpret_cast<uint64_t>(data)));
  if (result == 0) ShareIdentity();
  return static_cast<int>(result);
}

EXPORT int unshare(int flags) noexcept {
  if (NeedsAgentGone(SYS_unshare, flags)) EndAgent();
  return static_cast<int>(InErrno(RawSyscall(__NR_unshare, static_cast<uint64_t>(flags))));
}

EXPORT int setns(int descriptor, int type) noexcept {
  EndAgent();
  return static_cast<int>(InErrno(
      RawSyscall(__NR_setns, static_cast<uint64_t>(descriptor), static_cast<uint64_t>(type))));
}

EXPORT int prctl(int option, ...) noexcept {
  va_list rest;
  va_start(rest, option);
  uint64_t a[4];
  for (uint64_t& argument : a) argument = va_arg(rest, uint64_t);
  va_end(rest);
  if (NeedsAgentGone(SYS_prctl, option)) EndAgent();
  return static_cast<int>(
      InErrno(RawSyscall(__NR_prctl, static_cast<uint64_t>(option), a[0], a[1], a[2], a[3])));
}

EXPORT long syscall(long number, ...) noexcept {
  va_list rest;
  va_start(rest, number);
  uint64_t a[6];
  for (uint64_t& argument : a) argument = va_arg(rest, uint64_t);
  va_end(rest);
  if (NeedsAgentGone(number, static_cast<long>(a[0]))) EndAgent();
  const auto call = [&] { return InErrno(RawSyscall(number, a[0], a[1], a[2], a[3], a[4], a[5])); };
  if (number == SYS_mremap) {
    const Passage passage;
    return call();
  }
  const long result = call();
  if (result == 0 && ChangesIdentity(number)) ShareIdentity();
  return result;
}
