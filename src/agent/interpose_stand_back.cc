// Calls by which a program starts to use what the own path stands back from, seen when they are
// made: what they make is remembered before they return, and no batch is open meanwhile.
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/hooked.h"
#include "flow/stand_back.h"

namespace drover::agent {
namespace {

using flow::SetOf;
using flow::StandBackFrom;
using flow::StandBackSet;

Hooked<int(pthread_mutexattr_t*, int)> real_setprotocol{"pthread_mutexattr_setprotocol"};
Hooked<int(pthread_mutexattr_t*, int)> real_setrobust{"pthread_mutexattr_setrobust"};
Hooked<int(int, int, int, const void*, socklen_t)> real_setsockopt{"setsockopt"};
Hooked<int(int, int, int)> real_socket{"socket"};
Hooked<int(const char*, int, ...)> real_open{"open"}, real_open64{"open64"};
Hooked<int(int, const char*, int, ...)> real_openat{"openat"}, real_openat64{"openat64"};
Hooked<int(const char*, int)> real_open_2{"__open_2"}, real_open64_2{"__open64_2"};
Hooked<int(int, const char*, int)> real_openat_2{"__openat_2"}, real_openat64_2{"__openat64_2"};

bool IsPlausible(const void* pointer) {
  constexpr uint64_t kLowest = 64 << 10, kHighest = uint64_t{1} << 47;
  const auto address = reinterpret_cast<uint64_t>(pointer);
  return address >= kLowest && address < kHighest;
}

StandBackSet OfPath(const char* path) {
  // Most opens end here. A pointer that cannot be one is left to the kernel.
  if (!IsPlausible(path) || path[0] != '/' || path[1] != 'd' || path[2] != 'e') return 0;
  return flow::OfDescriptor(path);
}

// Opens. Not inside the gate, because a thread can be cancelled in open and would never leave it:
// so it is noted twice, and the second time no batch is open that has not heard of it.
template <class Open>
int OpenNoted(const char* path, const Open& open) {
  const StandBackSet set = OfPath(path);
  if (set == 0) return open();
  NoteAtTheBoundary(set);
  const int result = open();
  const int error = errno;
  if (result >= 0) NoteAtTheBoundary(set);
  errno = error;
  return result;
}

mode_t ModeOf(int flags, va_list rest) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

bool IsKernelTls(long level, long name, const void* value, unsigned length) {
  constexpr char kName[] = {'t', 'l', 's'};
  return level == IPPROTO_TCP && name == TCP_ULP && length >= sizeof kName && IsPlausible(value) &&
         __builtin_memcmp(value, kName, sizeof kName) == 0;
}

// Futex operations that fail in a hole instead of waiting.
bool FailsInAHole(int operation) {
  switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_TRYLOCK_PI:
    case FUTEX_WAKE_OP:
    case FUTEX_CMP_REQUEUE_PI:
    case FUTEX_WAIT_REQUEUE_PI:
      return true;
    default:
      return false;
  }
}

}  // namespace

void NoteAtTheBoundary(StandBackSet set) {
  const Passage passage;
  NoteCall(set);
}

void ResolveStandBack() {
  real_setprotocol.get();
  real_setrobust.get();
  real_setsockopt.get();
  real_socket.get();
  for (auto* real : {&real_open, &real_open64}) real->get();
  for (auto* real : {&real_openat, &real_openat64}) real->get();
  for (auto* real : {&real_open_2, &real_open64_2}) real->get();
  for (auto* real : {&real_openat_2, &real_openat64_2}) real->get();
}

uint32_t StandBackOfCall(long number, const uint64_t* a) {
  switch (number) {
    case SYS_userfaultfd:
      return SetOf(StandBackFrom::kOwnUserfault);
    case SYS_socket:
      return a[0] == AF_XDP ? SetOf(StandBackFrom::kXdp) : 0;
    case SYS_setsockopt:
      return IsKernelTls(static_cast<int>(a[1]), static_cast<int>(a[2]),
                         reinterpret_cast<const void*>(a[3]), static_cast<unsigned>(a[4]))
                 ? SetOf(StandBackFrom::kKernelTls)
                 : 0;
    case SYS_open:
      return OfPath(reinterpret_cast<const char*>(a[0]));
    case SYS_openat:
      return OfPath(reinterpret_cast<const char*>(a[1]));
    case SYS_futex:
      return FailsInAHole(static_cast<int>(a[1])) ? SetOf(StandBackFrom::kPiFutex) : 0;
    case SYS_clone:
      return (a[0] & CLONE_THREAD) != 0 ? SetOf(StandBackFrom::kRawThreads) : 0;
    case SYS_clone3:  // struct clone_args begins with the flags
      return IsPlausible(reinterpret_cast<const void*>(a[0])) &&
                     (*reinterpret_cast<const uint64_t*>(a[0]) & CLONE_THREAD) != 0
                 ? SetOf(StandBackFrom::kRawThreads)
                 : 0;
    default:
      return 0;
  }
}

}  // namespace drover::agent

using namespace drover::agent;
using drover::flow::SetOf;
using drover::flow::StandBackFrom;

DROVER_EXPORT int pthread_mutexattr_setprotocol(pthread_mutexattr_t* how, int protocol) noexcept {
  if (protocol == PTHREAD_PRIO_INHERIT) {
    const Passage passage;
    NoteCall(SetOf(StandBackFrom::kPiFutex));
  }
  return real_setprotocol.get()(how, protocol);
}

DROVER_EXPORT int pthread_mutexattr_setrobust(pthread_mutexattr_t* how, int robust) noexcept {
  if (robust == PTHREAD_MUTEX_ROBUST) {
    const Passage passage;
    NoteCall(SetOf(StandBackFrom::kRobustMutex));
  }
  return real_setrobust.get()(how, robust);
}

DROVER_EXPORT int setsockopt(int descriptor, int level, int name, const void* value,
                             socklen_t length) noexcept {
  const auto call = [&] { return real_setsockopt.get()(descriptor, level, name, value, length); };
  if (!IsKernelTls(level, name, value, length)) return call();
  const Passage passage;
  NoteCall(SetOf(StandBackFrom::kKernelTls));
  return call();
}

DROVER_EXPORT int socket(int domain, int type, int protocol) noexcept {
  const auto call = [&] { return real_socket.get()(domain, type, protocol); };
  if (domain != AF_XDP) return call();
  const Passage passage;
  NoteCall(SetOf(StandBackFrom::kXdp));
  return call();
}

DROVER_EXPORT int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = ModeOf(flags, rest);
  va_end(rest);
  return OpenNoted(path, [&] { return real_open.get()(path, flags, mode); });
}
DROVER_EXPORT int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = ModeOf(flags, rest);
  va_end(rest);
  return OpenNoted(path, [&] { return real_open64.get()(path, flags, mode); });
}
DROVER_EXPORT int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = ModeOf(flags, rest);
  va_end(rest);
  return OpenNoted(path, [&] { return real_openat.get()(folder, path, flags, mode); });
}
DROVER_EXPORT int openat64(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = ModeOf(flags, rest);
  va_end(rest);
  return OpenNoted(path, [&] { return real_openat64.get()(folder, path, flags, mode); });
}
// What the others become where the program was built with _FORTIFY_SOURCE.
DROVER_EXPORT int __open_2(const char* path, int flags) {
  return OpenNoted(path, [&] { return real_open_2.get()(path, flags); });
}
DROVER_EXPORT int __open64_2(const char* path, int flags) {
  return OpenNoted(path, [&] { return real_open64_2.get()(path, flags); });
}
DROVER_EXPORT int __openat_2(int folder, const char* path, int flags) {
  return OpenNoted(path, [&] { return real_openat_2.get()(folder, path, flags); });
}
DROVER_EXPORT int __openat64_2(int folder, const char* path, int flags) {
  return OpenNoted(path, [&] { return real_openat64_2.get()(folder, path, flags); });
}
