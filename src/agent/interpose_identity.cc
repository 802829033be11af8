// Calls after which an engine thread would have more rights than the program: it takes on the new
// identity before they return, or ends before they are made.
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "flow/rules.h"

namespace drover::agent {
namespace {

Hooked<int(uid_t)> real_setuid{"setuid"}, real_seteuid{"seteuid"};
Hooked<int(gid_t)> real_setgid{"setgid"}, real_setegid{"setegid"};
Hooked<int(uid_t, uid_t)> real_setreuid{"setreuid"};
Hooked<int(gid_t, gid_t)> real_setregid{"setregid"};
Hooked<int(uid_t, uid_t, uid_t)> real_setresuid{"setresuid"};
Hooked<int(gid_t, gid_t, gid_t)> real_setresgid{"setresgid"};
Hooked<int(size_t, const gid_t*)> real_setgroups{"setgroups"};
Hooked<int(void*, const void*)> real_capset{"capset"};
Hooked<int(int)> real_unshare{"unshare"};
Hooked<int(int, int)> real_setns{"setns"};
Hooked<int(int, uint64_t, uint64_t, uint64_t, uint64_t)> real_prctl{"prctl"};

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
  real_capset.get();
  real_unshare.get();
  real_setns.get();
  real_prctl.get();
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
// Asking who is in which group may take long (a directory service), so only its end is gated.
DROVER_EXPORT int initgroups(const char* user, gid_t group) {
  int room = 65536;  // NGROUPS_MAX
  const size_t bytes = static_cast<size_t>(room) * sizeof(gid_t);
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return -1;
  auto* groups = static_cast<gid_t*>(mapped);
  int result = -1;
  if (getgrouplist(user, group, groups, &room) >= 0)
    result = ChangeIdentity(real_setgroups, static_cast<size_t>(room), groups);
  else
    errno = ENOMEM;
  const int error = errno;
  munmap(mapped, bytes);
  errno = error;
  return result;
}
DROVER_EXPORT int capset(void* header, const void* data) noexcept {
  const int result = real_capset.get()(header, data);
  if (result == 0) ShareIdentity();
  return result;
}

DROVER_EXPORT int unshare(int flags) noexcept {
  if (NeedsAgentGone(SYS_unshare, flags)) EndAgent();
  return real_unshare.get()(flags);
}

DROVER_EXPORT int setns(int descriptor, int type) noexcept {
  if (NeedsAgentGone(SYS_setns, descriptor)) EndAgent();
  return real_setns.get()(descriptor, type);
}

DROVER_EXPORT int prctl(int option, ...) noexcept {
  va_list rest;
  va_start(rest, option);
  uint64_t a[4];
  for (uint64_t& argument : a) argument = va_arg(rest, uint64_t);
  va_end(rest);
  if (NeedsAgentGone(SYS_prctl, option)) EndAgent();
  return real_prctl.get()(option, a[0], a[1], a[2], a[3]);
}
