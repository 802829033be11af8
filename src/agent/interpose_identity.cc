// Calls after which an engine thread would have more rights than the program: it takes on the new
// identity before they return, or ends before they are made.
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "flow/rules.h"
#include "kernel/raw_syscall.h"

namespace drover::agent {
namespace {

Hooked<int(uid_t)> real_setuid{"setuid"}, real_seteuid{"seteuid"};
Hooked<int(gid_t)> real_setgid{"setgid"}, real_setegid{"setegid"};
Hooked<int(uid_t, uid_t)> real_setreuid{"setreuid"};
Hooked<int(gid_t, gid_t)> real_setregid{"setregid"};
Hooked<int(uid_t, uid_t, uid_t)> real_setresuid{"setresuid"};
Hooked<int(gid_t, gid_t, gid_t)> real_setresgid{"setresgid"};
Hooked<int(size_t, const gid_t*)> real_setgroups{"setgroups"};
Hooked<int(const char*, gid_t)> real_initgroups{"initgroups"};

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

}  // namespace

void ResolveIdentity() {
  for (auto* real : {&real_setuid, &real_seteuid}) real->get();
  for (auto* real : {&real_setgid, &real_setegid}) real->get();
  real_setreuid.get();
  real_setregid.get();
  real_setresuid.get();
  real_setresgid.get();
  real_setgroups.get();
  real_initgroups.get();
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

}  // namespace drover::agent

using namespace drover::agent;
using drover::kernel::RawSyscall;

DROVER_EXPORT int setuid(uid_t user) noexcept {
  return ChangeIdentity(real_setuid, user);
}
DROVER_EXPORT int seteuid(uid_t user) noexcept {
  return ChangeIdentity(real_seteuid, user);
}
DROVER_EXPORT int setgid(gid_t group) noexcept {
  return ChangeIdentity(real_setgid, group);
}
DROVER_EXPORT int setegid(gid_t group) noexcept {
  return ChangeIdentity(real_setegid, group);
}
DROVER_EXPORT int setreuid(uid_t real, uid_t effective) noexcept {
  return ChangeIdentity(real_setreuid, real, effective);
}
DROVER_EXPORT int setregid(gid_t real, gid_t effective) noexcept {
  return ChangeIdentity(real_setregid, real, effective);
}
DROVER_EXPORT int setresuid(uid_t real, uid_t effective, uid_t saved) noexcept {
  return ChangeIdentity(real_setresuid, real, effective, saved);
}
DROVER_EXPORT int setresgid(gid_t real, gid_t effective, gid_t saved) noexcept {
  return ChangeIdentity(real_setresgid, real, effective, saved);
}
DROVER_EXPORT int setgroups(size_t count, const gid_t* groups) noexcept {
  return ChangeIdentity(real_setgroups, count, groups);
}
DROVER_EXPORT int initgroups(const char* user, gid_t group) {
  return ChangeIdentity(real_initgroups, user, group);
}
DROVER_EXPORT int capset(void* header, const void* data) noexcept {
  const long result = InErrno(RawSyscall(__NR_capset, reinterpret_cast<uint64_t>(header),
                                         reinterpret_cast<uint64_t>(data)));
  if (result == 0) ShareIdentity();
  return static_cast<int>(result);
}

DROVER_EXPORT int unshare(int flags) noexcept {
  if (NeedsAgentGone(SYS_unshare, flags)) EndAgent();
  return static_cast<int>(InErrno(RawSyscall(__NR_unshare, static_cast<uint64_t>(flags))));
}

DROVER_EXPORT int setns(int descriptor, int type) noexcept {
  if (NeedsAgentGone(SYS_setns, descriptor)) EndAgent();
  return static_cast<int>(InErrno(
      RawSyscall(__NR_setns, static_cast<uint64_t>(descriptor), static_cast<uint64_t>(type))));
}

DROVER_EXPORT int prctl(int option, ...) noexcept {
  va_list rest;
  va_start(rest, option);
  uint64_t a[4];
  for (uint64_t& argument : a) argument = va_arg(rest, uint64_t);
  va_end(rest);
  if (NeedsAgentGone(SYS_prctl, option)) EndAgent();
  return static_cast<int>(
      InErrno(RawSyscall(__NR_prctl, static_cast<uint64_t>(option), a[0], a[1], a[2], a[3])));
}
