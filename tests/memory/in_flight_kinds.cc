// Memory with a transfer under way: what the kernel reads from it or writes to it later.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "memory/held_file.h"
#include "memory/kinds.h"

namespace drover::memory {
namespace {

constexpr size_t kReadBytes = 16 * kPage;

// One read that ends when its content is looked at.
struct ReadUnderWay {
  HeldFile* file = nullptr;
  std::thread reader;
} under_way;

Made Reading(int open_flags, bool direct) {
  auto* file = new HeldFile(open_flags, direct);
  if (!file->cannot().empty()) return Cannot(file->cannot());
  Made made{MapSmall(kReadBytes), kReadBytes, Content::kFilled};
  Stamp(made.start, made.bytes);
  under_way.file = file;
  under_way.reader = std::thread(
      [file, start = made.start] { (void)!pread(file->descriptor(), start, kReadBytes, 0); });
  file->AwaitRead();
  made.undo = [](const Made&) {
    under_way.file->LetGo();
    under_way.reader.join();
  };
  return made;
}

Made DirectRead() {
  return Reading(O_DIRECT, false);
}
Made FuseDirect() {
  return Reading(0, true);
}

// A pair of connected sockets on the loopback device; the receiver takes little before it is read.
bool Connect(int* sender, int* receiver) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int small = 4096;
  setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* place = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, place, length) != 0 || listen(listener, 1) != 0) return false;
  getsockname(listener, place, &length);
  *sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(*sender, place, length) != 0) return false;
  *receiver = accept(listener, nullptr, nullptr);
  close(listener);
  return *receiver >= 0;
}

bool ReadAll(int file, char* start, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = read(file, start + done, bytes - done);
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

// Sent from where it is, and not taken yet: the kernel still reads there, by references that nobody
// else sees.
Made ZeroCopy() {
  static int sender = -1, receiver = -1;
  if (!Connect(&sender, &receiver)) return Cannot("no socket to be had");
  const int on = 1, large = 1 << 20;
  setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &large, sizeof large);
  if (setsockopt(sender, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) != 0)
    return Cannot("SO_ZEROCOPY is unknown here");
  Made made = Stamped(16);
  constexpr int kHow = MSG_ZEROCOPY | MSG_DONTWAIT;
  if (send(sender, made.start, made.bytes, kHow) != static_cast<ssize_t>(made.bytes))
    return Cannot("MSG_ZEROCOPY is refused (net.core.optmem_max, RLIMIT_MEMLOCK)");
  msghdr report = {};
  if (recvmsg(sender, &report, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
    return Cannot("the kernel has copied what was to be sent");
  // What comes out of the socket must be what went in.
  static const char* const start = made.start;
  made.works = [] {
    char received[16 * kPage] = {};
    return ReadAll(receiver, received, sizeof received) &&
           std::memcmp(received, start, sizeof received) == 0;
  };
  return made;
}

// What is received is decrypted straight into the buffer.
Made KernelTls() {
  static int sender = -1, receiver = -1;
  if (!Connect(&sender, &receiver)) return Cannot("no socket to be had");
  tls12_crypto_info_aes_gcm_128 key = {};
  key.info = {TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128};
  constexpr int kTcpUlp = 31, kSolTls = 282;
  for (const int end : {sender, receiver})
    if (setsockopt(end, IPPROTO_TCP, kTcpUlp, "tls", 4) != 0)
      return Cannot("the kernel has no TLS of its own");
  if (setsockopt(sender, kSolTls, TLS_TX, &key, sizeof key) != 0 ||
      setsockopt(receiver, kSolTls, TLS_RX, &key, sizeof key) != 0)
    return Cannot("the kernel has no AES-GCM for TLS");
  Made made = Stamped(4);
  made.content = Content::kFilled;
  made.undo = [](const Made& self) {
    std::thread writer([bytes = self.bytes] {
      const std::string text(bytes, kFill);
      (void)!write(sender, text.data(), bytes);
    });
    (void)ReadAll(receiver, self.start, self.bytes);
    writer.join();
  };
  return made;
}

// A file on NFS, open for direct I/O: what is read is written straight into the buffer.
Made NfsDirect() {
  std::string folder;
  std::ifstream mounts("/proc/mounts");
  for (std::string source, place, type, rest; mounts >> source >> place >> type;) {
    std::getline(mounts, rest);
    if (type == "nfs" || type == "nfs4") folder = place;
  }
  if (folder.empty()) return Cannot("no NFS is mounted");
  static int file = -1;
  const std::string path = folder + "/drover-kind-" + std::to_string(getpid());
  const std::string text(kReadBytes, kFill);
  const int writer = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  const bool written = write(writer, text.data(), kReadBytes) == static_cast<ssize_t>(kReadBytes);
  close(writer);
  file = open(path.c_str(), O_RDONLY | O_DIRECT);
  unlink(path.c_str());
  if (!written || file < 0) return Cannot("the NFS cannot be written to");
  Made made{MapSmall(kReadBytes), kReadBytes, Content::kFilled};
  Stamp(made.start, made.bytes);
  made.undo = [](const Made& self) { (void)!pread(file, self.start, self.bytes, 0); };
  return made;
}

constexpr Kind kInFlightKinds[] = {
    {"zerocopy", "being sent by MSG_ZEROCOPY", ZeroCopy},
    {"kernel-tls", "of a program that has a socket with kernel TLS", KernelTls},
    {"nfs-direct", "of a program that has a file on NFS open with O_DIRECT", NfsDirect},
    {"direct-read", "target of an O_DIRECT read under way", DirectRead},
    {"fuse-read", "target of a read from a FUSE file system that reads past the page cache",
     FuseDirect},
};

}  // namespace

std::span<const Kind> InFlightKinds() {
  return kInFlightKinds;
}

}  // namespace drover::memory
