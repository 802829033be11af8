// Reading and writing, by the program itself and by the kernel for it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "chaos/operations.h"
#include "chaos/source.h"

namespace drover::chaos {
namespace {

bool Read(Target& target) {
  target.wrong = target.slice.CountWrong(target.first, target.count) > 0;
  return true;
}
bool Write(Target& target) {
  for (uint64_t i = 0; i < target.count; ++i)
    target.slice.Write(target.first + i, target.random.Next());
  return true;
}

bool FromFile(Target& target, int file) {
  if (file < 0) return false;
  const ssize_t got = pread(file, target.start(), target.bytes(), 0);
  if (got != static_cast<ssize_t>(target.bytes())) target.wrong = true;
  SetToSource(target);
  return true;
}
bool ReadFile(Target& target) {
  static const int file = SourceFile(0);
  return FromFile(target, file);
}
bool ReadDirectly(Target& target) {
  static const int file = SourceFile(O_DIRECT);
  return FromFile(target, file);
}

bool WriteFile(Target& target) {
  thread_local const int file = memfd_create("chaos", MFD_CLOEXEC);
  const auto bytes = static_cast<ssize_t>(target.bytes());
  if (pwrite(file, target.start(), target.bytes(), 0) != bytes) target.wrong = true;
  if (pread(file, Aside(), target.bytes(), 0) != bytes) target.wrong = true;
  CheckCopy(target, Aside());
  return true;
}

// 16 pages are what a pipe takes at once.
struct Pipe {
  Pipe() : good(pipe2(ends, O_CLOEXEC) == 0) {}
  ~Pipe() { close(ends[0]), close(ends[1]); }
  int ends[2] = {-1, -1};
  bool good;
};
bool ThroughPipe(Target& target) {
  const Pipe pipe;
  target.count = std::min<uint64_t>(target.count, 8);
  const auto bytes = static_cast<ssize_t>(target.bytes());
  if (write(pipe.ends[1], target.start(), target.bytes()) != bytes) return false;
  if (read(pipe.ends[0], Aside(), target.bytes()) != bytes) target.wrong = true;
  CheckCopy(target, Aside());
  return true;
}
// The pipe holds the pages themselves.
bool Splice(Target& target) {
  const Pipe pipe;
  target.count = std::min<uint64_t>(target.count, 8);
  const iovec pages = {target.start(), target.bytes()};
  const auto bytes = static_cast<ssize_t>(target.bytes());
  if (vmsplice(pipe.ends[1], &pages, 1, 0) != bytes) return false;
  usleep(static_cast<useconds_t>(target.random.Below(300)));
  if (read(pipe.ends[0], Aside(), target.bytes()) != bytes) target.wrong = true;
  CheckCopy(target, Aside());
  return true;
}

bool WriteAsAnother(Target& target) {
  const iovec from = {const_cast<char*>(TheSource().text.data()), target.bytes()};
  const iovec to = {target.start(), target.bytes()};
  const ssize_t got = process_vm_writev(getpid(), &from, 1, &to, 1, 0);
  if (got < 0) return false;
  if (got != static_cast<ssize_t>(target.bytes())) target.wrong = true;
  SetToSource(target);
  return true;
}
bool ReadAsAnother(Target& target) {
  const iovec from = {target.start(), target.bytes()};
  const iovec to = {Aside(), target.bytes()};
  const ssize_t got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
  if (got < 0) return false;
  if (got != static_cast<ssize_t>(target.bytes())) target.wrong = true;
  CheckCopy(target, Aside());
  return true;
}

// As a debugger writes. Where a page is away the kernel does not wait: EIO, or less than all; so
// this goes on until all is written.
bool WriteProcMem(Target& target) {
  static const int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  const auto place = static_cast<off_t>(reinterpret_cast<uintptr_t>(target.start()));
  for (uint64_t done = 0; done < target.bytes();) {
    const ssize_t got = pwrite(memory, &TheSource().text[done], target.bytes() - done,
                               place + static_cast<off_t>(done));
    if (got < 0 && errno != EIO) return done > 0 ? (target.wrong = true) : false;
    if (got > 0) done += static_cast<uint64_t>(got);
  }
  SetToSource(target);
  return true;
}

constexpr Operation kTransferOperations[] = {
    {"read", Read},
    {"write", Write},
    {"read-file", ReadFile},
    {"read-file-direct", ReadDirectly},
    {"write-file", WriteFile},
    {"pipe", ThroughPipe},
    {"vmsplice", Splice},
    {"process-vm-writev", WriteAsAnother},
    {"process-vm-readv", ReadAsAnother},
    {"proc-mem", WriteProcMem},
};

}  // namespace

std::span<const Operation> TransferOperations() {
  return kTransferOperations;
}

}  // namespace drover::chaos
