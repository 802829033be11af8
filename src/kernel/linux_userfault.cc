// The real kernel: userfaultfd.
#include <fcntl.h>
#include <poll.h>

#include "kernel/abi.h"
#include "kernel/linux_kernel.h"
#include "kernel/raw_syscall.h"

namespace drover::kernel {
namespace {

constexpr uint64_t kOpenFlags = O_CLOEXEC | O_NONBLOCK;

Errno Ioctl(int descriptor, unsigned long request, void* argument) {
  return ErrnoOf(RawSyscallRetry(__NR_ioctl, Arg(descriptor), request, AddressOf(argument)));
}

Result<int> DescriptorOf(int64_t result) {
  if (result < 0) return std::unexpected(ErrnoOf(result));
  return static_cast<int>(result);
}

}  // namespace

Result<int> LinuxKernel::OpenUserfault() {
  const int64_t direct = RawSyscall(__NR_userfaultfd, kOpenFlags);
  if (direct >= 0) return DescriptorOf(direct);
  const int64_t device =
      RawSyscall(__NR_openat, Arg(AT_FDCWD), AddressOf("/dev/userfaultfd"), O_RDWR | O_CLOEXEC);
  if (device < 0) return std::unexpected(ErrnoOf(direct));
  const auto made = NewUserfaultFrom(static_cast<int>(device));
  RawSyscall(__NR_close, Arg(device));
  return made;
}

Result<int> LinuxKernel::NewUserfaultFrom(int device) {
  return DescriptorOf(RawSyscall(__NR_ioctl, Arg(device), abi::kUserfaultDeviceNew, kOpenFlags));
}

Errno LinuxKernel::ShakeHands(int userfault, uint64_t features) {
  uffdio_api api{UFFD_API, features, 0};
  return Ioctl(userfault, UFFDIO_API, &api);
}

Errno LinuxKernel::Register(Range range, RegisterMode mode) {
  uffdio_register r{{range.start, range.length}, static_cast<uint64_t>(mode), 0};
  return Ioctl(descriptors_.userfault, UFFDIO_REGISTER, &r);
}

Errno LinuxKernel::Unregister(Range range) {
  uffdio_range r{range.start, range.length};
  return Ioctl(descriptors_.userfault, UFFDIO_UNREGISTER, &r);
}

MoveAnswer LinuxKernel::Move(uint64_t target, uint64_t source, uint64_t length) {
  abi::UserfaultMove move{target, source, length, 0, 0};  // argument errors leave `moved` alone
  const Errno error = Ioctl(descriptors_.userfault, abi::kUserfaultMove, &move);
  if (error == Errno::kOk) return {Errno::kOk, length};
  return {error, move.moved > 0 ? static_cast<uint64_t>(move.moved) : 0};
}

MoveAnswer LinuxKernel::Fill(uint64_t target, uint64_t source, uint64_t length) {
  uffdio_copy copy{target, source, length, UFFDIO_COPY_MODE_DONTWAKE, 0};
  const Errno error = Ioctl(descriptors_.userfault, UFFDIO_COPY, &copy);
  if (error == Errno::kOk) return {Errno::kOk, length};
  return {error, copy.copy > 0 ? static_cast<uint64_t>(copy.copy) : 0};
}

Errno LinuxKernel::CopyPage(int userfault, uint64_t target, uint64_t source) {
  uffdio_copy copy{target, source, kPageBytes, 0, 0};
  return Ioctl(userfault == kOwnUserfault ? descriptors_.userfault : userfault, UFFDIO_COPY, &copy);
}

Errno LinuxKernel::ZeroPage(uint64_t target) {
  uffdio_zeropage zero{{target, kPageBytes}, 0, 0};
  return Ioctl(descriptors_.userfault, UFFDIO_ZEROPAGE, &zero);
}

Errno LinuxKernel::Wake(Range range) {
  uffdio_range r{range.start, range.length};
  return Ioctl(descriptors_.userfault, UFFDIO_WAKE, &r);
}

Result<Message> LinuxKernel::ReadMessage() {
  return ReadChildMessage(descriptors_.userfault);
}

Result<Message> LinuxKernel::ReadChildMessage(int userfault) {
  uffd_msg raw;
  const int64_t got = RawSyscallRetry(__NR_read, Arg(userfault), AddressOf(&raw), sizeof raw);
  if (got < 0) return std::unexpected(ErrnoOf(got));
  if (got != sizeof raw) return std::unexpected(Errno::kAgain);
  Message message;
  message.kind = static_cast<Message::Kind>(raw.event);
  switch (message.kind) {
    case Message::Kind::kFault:
      message.address = RoundDown(raw.arg.pagefault.address, kPageBytes);
      message.thread = static_cast<int32_t>(raw.arg.pagefault.feat.ptid);
      break;
    case Message::Kind::kFork:
      message.child = static_cast<int32_t>(raw.arg.fork.ufd);
      break;
    case Message::Kind::kRemap:
      message.address = raw.arg.remap.from;
      message.target = raw.arg.remap.to;
      message.length = raw.arg.remap.len;
      break;
    case Message::Kind::kRemove:
    case Message::Kind::kUnmap:
      message.address = raw.arg.remove.start;
      message.length = raw.arg.remove.end - raw.arg.remove.start;
      break;
  }
  return message;
}

void LinuxKernel::WaitForMessage() {
  pollfd wait[2] = {{descriptors_.userfault, POLLIN, 0}, {descriptors_.interrupt, POLLIN, 0}};
  RawSyscall(__NR_poll, AddressOf(&wait[0]), 2, Arg(-1));
  if (wait[1].revents & POLLIN) {
    uint64_t count;
    RawSyscall(__NR_read, Arg(descriptors_.interrupt), AddressOf(&count), sizeof count);
  }
}

void LinuxKernel::InterruptWait() {
  const uint64_t one = 1;
  RawSyscall(__NR_write, Arg(descriptors_.interrupt), AddressOf(&one), sizeof one);
}

void LinuxKernel::CloseChild(int userfault, Range registered) {
  uffdio_range range{registered.start, registered.length};
  if (!registered.empty()) (void)Ioctl(userfault, UFFDIO_UNREGISTER, &range);
  RawSyscall(__NR_close, Arg(userfault));
}

}  // namespace drover::kernel
