#include "memory/held_file.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "memory/kinds.h"

namespace drover::memory {
namespace {

// The child. Every answer is a header and, where it has one, a body.
class Server {
 public:
  Server(int fuse, bool direct, int has_read, int let_go)
      : fuse_(fuse), direct_(direct), has_read_(has_read), let_go_(let_go) {}

  void Run() {
    alignas(8) static char request[256 << 10];
    for (;;) {
      const ssize_t got = read(fuse_, request, sizeof request);
      if (got < static_cast<ssize_t>(sizeof(fuse_in_header))) _exit(0);  // unmounted
      const auto& header = *reinterpret_cast<const fuse_in_header*>(request);
      Answer(header, request + sizeof header);
    }
  }

 private:
  void Answer(const fuse_in_header& header, const char* body) {
    switch (header.opcode) {
      case FUSE_INIT: {
        fuse_init_out out = {};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = FUSE_KERNEL_MINOR_VERSION;
        out.max_readahead = 0;
        out.max_write = 64 << 10;
        return Send(header, &out, sizeof out);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out = {};
        out.attr.ino = FUSE_ROOT_ID;
        out.attr.mode = S_IFREG | 0600;
        out.attr.nlink = 1;
        out.attr.size = 1 << 20;
        return Send(header, &out, sizeof out);
      }
      case FUSE_OPEN: {
        fuse_open_out out = {};
        out.open_flags = direct_ ? FOPEN_DIRECT_IO : 0;
        return Send(header, &out, sizeof out);
      }
      case FUSE_READ: {
        const auto& in = *reinterpret_cast<const fuse_read_in*>(body);
        const std::vector<char> bytes(in.size, kFill);
        char go = 0;
        if (write(has_read_, "r", 1) != 1 || read(let_go_, &go, 1) != 1) _exit(0);
        return Send(header, bytes.data(), bytes.size());
      }
      case FUSE_FORGET:
      case FUSE_INTERRUPT:
        return;  // have no answer
      default:
        return Send(header, nullptr, 0, -ENOSYS);
    }
  }

  void Send(const fuse_in_header& header, const void* body, size_t bytes, int error = 0) {
    fuse_out_header out = {static_cast<uint32_t>(sizeof out + bytes), error, header.unique};
    const iovec parts[] = {{&out, sizeof out}, {const_cast<void*>(body), bytes}};
    (void)!writev(fuse_, parts, bytes > 0 ? 2 : 1);
  }

  int fuse_;
  bool direct_;
  int has_read_, let_go_;
};

}  // namespace

HeldFile::HeldFile(int open_flags, bool direct) {
  int has_read[2], let_go[2], mounted[2];
  if (pipe(has_read) != 0 || pipe(let_go) != 0 || pipe(mounted) != 0) return;
  // Nothing of it is left when this process has ended.
  const char* path = "/tmp/held";
  if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", "/tmp", "tmpfs", 0, nullptr) != 0) {
    cannot_ = "no mount namespace to be had";
    return;
  }
  close(open(path, O_CREAT | O_WRONLY, 0600));
  const int parent = getpid();
  if (fork() == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    const int fuse = open("/dev/fuse", O_RDWR);
    char options[96];
    std::snprintf(options, sizeof options, "fd=%d,rootmode=100000,user_id=0,group_id=0", fuse);
    const bool good = fuse >= 0 && mount("held", path, "fuse.held", MS_NOSUID, options) == 0;
    if (write(mounted[1], good ? "y" : "n", 1) != 1 || !good) _exit(1);
    Server(fuse, direct, has_read[1], let_go[0]).Run();
  }
  char good = 'n';
  if (read(mounted[0], &good, 1) != 1 || good != 'y') cannot_ = "the kernel has no FUSE";
  if (cannot_.empty()) descriptor_ = open(path, O_RDONLY | open_flags);
  if (cannot_.empty() && descriptor_ < 0) cannot_ = "the FUSE file cannot be opened so";
  has_read_ = has_read[0];
  let_go_ = let_go[1];
}

void HeldFile::AwaitRead() const {
  char byte;
  (void)!read(has_read_, &byte, 1);
}

void HeldFile::LetGo() const {
  (void)!write(let_go_, "g", 1);
}

}  // namespace drover::memory
