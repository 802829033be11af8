#include "agent/socket.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "flow/text.h"
#include "kernel/raw_syscall.h"

namespace drover::agent {
namespace {

using kernel::AddressOf;
using kernel::Arg;
using kernel::RawSyscall;

// <sys/socket.h> would do, but its inline functions call into libc.
constexpr uint64_t kUnix = 1, kSeqPacket = 5, kCloseOnExec = O_CLOEXEC, kNonBlock = O_NONBLOCK;
constexpr uint64_t kSolSocket = 1, kPeerCredentials = 17, kRights = 1;
constexpr uint64_t kNoSignal = 0x4000, kDontWait = 0x40, kCloexecRights = 0x40000000;

struct UnixAddress {
  uint16_t family = kUnix;
  char path[108] = {};
};
struct Vector {
  const void* base;
  uint64_t bytes;
};
struct MessageHeader {
  void* name = nullptr;
  uint32_t name_bytes = 0;
  Vector* vectors = nullptr;
  uint64_t vector_count = 0;
  void* control = nullptr;
  uint64_t control_bytes = 0;
  int32_t flags = 0;
};
struct ControlMessage {
  uint64_t bytes = 0;
  int32_t level = kSolSocket;
  int32_t type = kRights;
  int32_t descriptors[4] = {};
};
constexpr uint64_t kControlHeaderBytes = 16;

// Makes the folder if it is not there; false: not to be used. A folder below /tmp that belongs to
// somebody else, or that is a link, is none.
bool UsableFolder(const char* folder) {
  struct stat info;
  RawSyscall(__NR_mkdir, AddressOf(folder), 0700);
  if (RawSyscall(__NR_lstat, AddressOf(folder), AddressOf(&info)) < 0) return false;
  const auto user = static_cast<uint32_t>(RawSyscall(__NR_geteuid));
  // Nobody else may put something into the place of what is made there.
  const bool open_to_others = (info.st_mode & 022) != 0 && (info.st_mode & S_ISVTX) == 0;
  return S_ISDIR(info.st_mode) && (info.st_uid == user || info.st_uid == 0) && !open_to_others;
}

}  // namespace

int64_t OpenSocket(Shared& shared, int32_t pid, uint64_t nonce, char* path, uint32_t path_room) {
  const int64_t door = RawSyscall(__NR_socket, kUnix, kSeqPacket | kCloseOnExec | kNonBlock, 0);
  if (door < 0) return door;
  int64_t result = -static_cast<int64_t>(kernel::Errno::kNoEntry);
  for (uint32_t i = 0; i < shared.settings.folder_count && result < 0; ++i) {
    const char* folder = shared.settings.folders[i];
    if (!UsableFolder(folder)) continue;
    flow::Path name;
    name.Add(folder).Add("/");
    name.AddNumber(static_cast<uint64_t>(pid), 10).Add("-").AddNumber(nonce & 0xffffff, 16);
    UnixAddress address;
    uint32_t length = 0;
    for (;
         name.c_str()[length] != '\0' && length + 1 < sizeof address.path && length + 1 < path_room;
         ++length)
      address.path[length] = path[length] = name.c_str()[length];
    path[length] = '\0';
    // Before the bind, so that the path never has another mode (the umask is the program's).
    RawSyscall(__NR_fchmod, Arg(door), 0600);
    result = RawSyscall(__NR_bind, Arg(door), AddressOf(&address), 2 + length + 1);
  }
  if (result == 0) result = RawSyscall(__NR_listen, Arg(door), 8);
  if (result == 0) return door;
  RawSyscall(__NR_close, Arg(door));
  path[0] = '\0';
  return result;
}

int64_t AcceptCaller(int door, int32_t* caller_pid, uint32_t* caller_user) {
  const int64_t caller = RawSyscall(__NR_accept4, Arg(door), 0, 0, kCloseOnExec);
  if (caller < 0) return caller;
  struct {
    int32_t pid;
    uint32_t user, group;
  } who{};
  uint32_t bytes = sizeof who;
  const int64_t asked = RawSyscall(__NR_getsockopt, Arg(caller), kSolSocket, kPeerCredentials,
                                   AddressOf(&who), AddressOf(&bytes));
  const auto user = static_cast<uint32_t>(RawSyscall(__NR_geteuid));
  if (asked == 0 && (who.user == 0 || who.user == user)) {
    *caller_pid = who.pid;
    *caller_user = who.user;
    return caller;
  }
  RawSyscall(__NR_close, Arg(caller));
  return -static_cast<int64_t>(kernel::Errno::kPerm);
}

bool SendMessage(int to, const void* message, uint32_t bytes, int descriptor) {
  Vector vector{message, bytes};
  ControlMessage control;
  control.bytes = kControlHeaderBytes + sizeof(int32_t);
  control.descriptors[0] = descriptor;
  MessageHeader header;
  header.vectors = &vector;
  header.vector_count = 1;
  if (descriptor >= 0) {
    header.control = &control;
    header.control_bytes = control.bytes;
  }
  return RawSyscall(__NR_sendmsg, Arg(to), AddressOf(&header), kNoSignal | kDontWait) ==
         static_cast<int64_t>(bytes);
}

int64_t ReceiveMessage(int from, void* message, uint32_t room, int descriptors[2], bool wait) {
  descriptors[0] = descriptors[1] = -1;
  Vector vector{message, room};
  ControlMessage control;
  MessageHeader header;
  header.vectors = &vector;
  header.vector_count = 1;
  header.control = &control;
  header.control_bytes = sizeof control;
  const int64_t got = kernel::RawSyscallRetry(__NR_recvmsg, Arg(from), AddressOf(&header),
                                              kCloexecRights | (wait ? 0 : kDontWait));
  if (got < 0 || header.control_bytes < kControlHeaderBytes) return got;
  const uint64_t count = (control.bytes - kControlHeaderBytes) / sizeof(int32_t);
  for (uint64_t i = 0; i < count && i < 4; ++i) {
    if (i < 2)
      descriptors[i] = control.descriptors[i];
    else
      RawSyscall(__NR_close, Arg(control.descriptors[i]));
  }
  return got;
}

}  // namespace drover::agent
