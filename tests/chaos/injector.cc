#include "chaos/injector.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <span>

#include "chaos/random.h"

#ifndef UFFDIO_MOVE
struct uffdio_move {
  __u64 dst, src, len, mode;
  __s64 move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)  // Linux 6.8
#endif

namespace drover::chaos {
namespace {

// What such a call can answer though its arguments are right.
std::span<const int> ErrorsOf(const seccomp_data& call) {
  static constexpr int kRegister[] = {ENOMEM, EBUSY}, kUnregister[] = {ENOMEM},
                       kMove[] = {EAGAIN, EBUSY, ENOMEM, EEXIST}, kFill[] = {EAGAIN, ENOMEM},
                       kMovePages[] = {ENOMEM};
  if (call.nr == SYS_move_pages) return kMovePages;
  switch (call.args[1]) {
    case UFFDIO_REGISTER:
      return kRegister;
    case UFFDIO_UNREGISTER:
      return kUnregister;
    case UFFDIO_MOVE:
      return kMove;
    default:
      return kFill;
  }
}

// No interposer sees it: the agent would leave before a filter comes.
long InstallFilter(uint64_t how, const sock_fprog* program) {
  long answer;
  register uint64_t third asm("rdx") = reinterpret_cast<uint64_t>(program);
  asm volatile("syscall"
               : "=a"(answer)
               : "a"(SYS_seccomp), "D"(uint64_t{SECCOMP_SET_MODE_FILTER}), "S"(how), "r"(third)
               : "rcx", "r11", "memory");
  return answer;
}

// The listener of a filter that lets through all but the calls named in the header.
int Install() {
  constexpr auto kNumber = offsetof(seccomp_data, nr), kCommand = offsetof(seccomp_data, args[1]);
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kNumber),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_move_pages, 7, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 7),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kCommand),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(UFFDIO_MOVE), 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(UFFDIO_COPY), 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(UFFDIO_ZEROPAGE), 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(UFFDIO_REGISTER), 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(UFFDIO_UNREGISTER), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {std::size(rules), rules};
  constexpr auto kHow = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC |
                        SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(InstallFilter(kHow, &program));
}

bool SendDescriptor(int socket, int descriptor) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  return sendmsg(socket, &message, 0) == 1;
}
int ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  int descriptor = -1;
  if (recvmsg(socket, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == nullptr) return -1;
  std::memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof descriptor);
  return descriptor;
}

// 0: the kernel is to do it.
int ErrorFor(const seccomp_data& call, Injection& shared, Random& random) {
  const std::span<const int> errors = ErrorsOf(call);
  if (shared.calls.fetch_add(1) + 1 == shared.nth)
    return shared.choice < errors.size() ? errors[shared.choice] : 0;
  const uint64_t one_in = shared.one_in;
  if (one_in == 0 || !random.OneIn(one_in)) return 0;
  return errors[random.Below(errors.size())];
}

// Until nobody is left whom the filter holds.
[[noreturn]] void Answer(int listener, Injection& shared, uint64_t seed) {
  Random random(seed);
  for (;;) {
    pollfd wait = {listener, POLLIN, 0};
    if (poll(&wait, 1, -1) < 0 && errno != EINTR) _exit(1);
    if ((wait.revents & POLLHUP) != 0) _exit(0);
    seccomp_notif call = {};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;  // a signal came first
    const int error = ErrorFor(call.data, shared, random);
    seccomp_notif_resp answer = {};
    answer.id = call.id;
    answer.error = -error;
    if (error == 0) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 && error != 0) ++shared.injected;
  }
}

}  // namespace

bool StartInjector(Injection& shared, uint64_t seed) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return false;
  const pid_t child = fork();  // before the filter, which does not hold it
  if (child == 0) {
    close(ends[0]);
    const int listener = ReceiveDescriptor(ends[1]);
    if (listener >= 0) Answer(listener, shared, seed);
    _exit(1);
  }
  close(ends[1]);
  const int listener = child > 0 ? Install() : -1;
  const bool good = listener >= 0 && SendDescriptor(ends[0], listener);
  if (listener >= 0) close(listener);
  close(ends[0]);
  if (!good && child > 0) waitpid(child, nullptr, 0);
  return good;
}

}  // namespace drover::chaos
