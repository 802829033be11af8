// The real kernel: the engine's own memory, threads, files, time.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "kernel/abi.h"
#include "kernel/linux_kernel.h"
#include "kernel/raw_syscall.h"

namespace drover::kernel {
namespace {

Result<int> Open(const char* path, int flags) {
  const int64_t result =
      RawSyscallRetry(__NR_openat, Arg(AT_FDCWD), AddressOf(path), Arg(flags | O_CLOEXEC));
  if (result < 0) return std::unexpected(ErrnoOf(result));
  return static_cast<int>(result);
}

// "/proc/PID/FILE", with "self" for pid 0.
struct ProcPath {
  ProcPath(int32_t pid, const char* file) {
    Add("/proc/");
    if (pid == 0) {
      Add("self");
    } else {
      char digits[12];
      int count = 0;
      for (int32_t left = pid; left > 0; left /= 10)
        digits[count++] = static_cast<char>('0' + left % 10);
      while (count > 0) text[used++] = digits[--count];
    }
    Add(file);
    text[used] = '\0';
  }
  void Add(const char* more) {
    while (*more != '\0') text[used++] = *more++;
  }
  char text[64];
  int used = 0;
};

// Calls visit(name) for each entry of a folder.
template <class Visit>
Errno VisitFolder(const char* path, const Visit& visit) {
  const auto folder = Open(path, O_RDONLY | O_DIRECTORY);
  if (!folder.has_value()) return folder.error();
  struct Entry {  // linux_dirent64
    uint64_t inode, offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
  };
  alignas(8) char buffer[4096];
  int64_t got;
  while ((got = RawSyscall(__NR_getdents64, Arg(*folder), AddressOf(&buffer[0]), sizeof buffer)) >
         0) {
    for (int64_t at = 0; at < got;) {
      const Entry* entry = reinterpret_cast<const Entry*>(buffer + at);
      visit(&entry->name[0]);
      at += entry->bytes;
    }
  }
  RawSyscall(__NR_close, Arg(*folder));
  return ErrnoOf(got);
}

}  // namespace

Errno LinuxKernel::OpenSelf(uint64_t features) {
  if (const Errno error = OpenFiles(); error != Errno::kOk) return error;
  const auto userfault = OpenUserfault();
  if (!userfault.has_value()) return userfault.error();
  descriptors_.userfault = *userfault;
  return ShakeHands(*userfault, features);
}

Result<int> LinuxKernel::OpenSmaps() const {
  return Open(ProcPath(pid_, "/smaps").text, O_RDONLY);
}

Errno LinuxKernel::OpenProcess(int32_t pid) {
  pid_ = pid;
  return OpenFiles();
}

Errno LinuxKernel::OpenFiles() {
  struct {
    const char* file;
    int* descriptor;
  } const wanted[] = {{"/pagemap", &descriptors_.pagemap}, {"/maps", &descriptors_.maps}};
  for (const auto& w : wanted) {
    if (*w.descriptor >= 0) continue;
    const auto opened = Open(ProcPath(pid_, w.file).text, O_RDONLY);
    if (!opened.has_value()) return opened.error();
    *w.descriptor = *opened;
  }
  if (pid_ == 0 && descriptors_.interrupt < 0) {
    const int64_t made = RawSyscall(__NR_eventfd2, 0, O_CLOEXEC | O_NONBLOCK);
    if (made < 0) return ErrnoOf(made);
    descriptors_.interrupt = static_cast<int>(made);
  }
  return Errno::kOk;
}

void LinuxKernel::OpenMemory() {
  if (descriptors_.memory < 0) descriptors_.memory = Open("/proc/self/mem", O_RDONLY).value_or(-1);
}

Errno LinuxKernel::ReadMemory(uint64_t from, uint64_t to, uint64_t length) {
  const bool by_file = descriptors_.memory >= 0;
  const int64_t self = by_file ? 0 : RawSyscall(__NR_getpid);
  for (uint64_t at = 0; at < length;) {
    struct {
      uint64_t start, length;
    } const here = {to + at, length - at}, there = {from + at, length - at};
    const int64_t got = by_file ? RawSyscallRetry(__NR_pread64, Arg(descriptors_.memory),
                                                  here.start, here.length, there.start)
                                : RawSyscallRetry(__NR_process_vm_readv, Arg(self),
                                                  AddressOf(&here), 1, AddressOf(&there), 1, 0);
    if (got < 0) return ErrnoOf(got);
    if (got == 0) return Errno::kFault;
    at += static_cast<uint64_t>(got);
  }
  return Errno::kOk;
}

void LinuxKernel::Close() {
  for (int* descriptor : {&descriptors_.userfault, &descriptors_.pagemap, &descriptors_.maps,
                          &descriptors_.interrupt, &descriptors_.memory}) {
    if (*descriptor >= 0) RawSyscall(__NR_close, Arg(*descriptor));
    *descriptor = -1;
  }
}

Result<uint64_t> LinuxKernel::MapAt(uint64_t wish, uint64_t bytes) {
  const int64_t result = RawSyscall(__NR_mmap, wish, bytes, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, Arg(-1), 0);
  if (result < 0 && result > -4096) return std::unexpected(ErrnoOf(result));
  return static_cast<uint64_t>(result);
}

void LinuxKernel::Unmap(Range range) {
  RawSyscall(__NR_munmap, range.start, range.length);
}

Errno LinuxKernel::Advise(Range range, Advice advice) {
  return ErrnoOf(
      RawSyscallRetry(__NR_madvise, range.start, range.length, Arg(static_cast<int>(advice))));
}

void LinuxKernel::FaultIn(Range range, uint64_t step) {
  for (uint64_t at = range.start; at < range.end(); at += step)
    *reinterpret_cast<volatile uint8_t*>(at) = 0;
}

Errno LinuxKernel::Collapse(uint64_t slot) {
  if (pid_ == 0) return Advise({slot, kHugeBytes}, Advice::kCollapse);
  const int64_t process = RawSyscall(__NR_pidfd_open, Arg(pid_), 0);
  if (process < 0) return ErrnoOf(process);
  const struct {
    uint64_t start, length;
  } there = {slot, kHugeBytes};
  const int64_t done = RawSyscallRetry(__NR_process_madvise, Arg(process), AddressOf(&there), 1,
                                       Arg(static_cast<int>(Advice::kCollapse)), 0);
  RawSyscall(__NR_close, Arg(process));
  return ErrnoOf(done);
}

Errno LinuxKernel::Protect(Range range, bool writable) {
  return ErrnoOf(RawSyscall(__NR_mprotect, range.start, range.length,
                            Arg(writable ? PROT_READ | PROT_WRITE : PROT_READ)));
}

Errno LinuxKernel::Unlock(Range range) {
  return ErrnoOf(RawSyscall(__NR_munlock, range.start, range.length));
}

Result<uint64_t> LinuxKernel::ListThreads(std::span<int32_t> ids) {
  uint64_t count = 0;
  const auto visit = [&](const char* name) {
    int32_t id = 0;
    for (const char* c = name; *c >= '0' && *c <= '9'; ++c) id = id * 10 + (*c - '0');
    if (id == 0) return;
    if (count < ids.size()) ids[count] = id;
    ++count;
  };
  const Errno error = VisitFolder(ProcPath(pid_, "/task").text, visit);
  if (error != Errno::kOk) return std::unexpected(error);
  return count;
}

Errno LinuxKernel::VisitDescriptors(Visit visit, void* context) {
  // The process's table, not the engine's: /proc/PID/fd is the table of the thread group's leader.
  const ProcPath folder(pid_, "/fd/");
  return VisitFolder(folder.text, [&](const char* name) {
    if (name[0] == '.') return;
    ProcPath path = folder;
    path.Add(name);
    path.text[path.used] = '\0';
    char target[256];
    const int64_t length =
        RawSyscall(__NR_readlink, AddressOf(&path.text[0]), AddressOf(&target[0]), sizeof target);
    int32_t number = 0;
    for (const char* c = name; *c >= '0' && *c <= '9'; ++c) number = number * 10 + (*c - '0');
    if (length > 0) visit(context, number, {target, static_cast<size_t>(length)});
  });
}

// Through a copy of the descriptor (pidfd_getfd, Linux 5.6): the engine's table is another one.
Result<SocketKind> LinuxKernel::LookAtSocket(int descriptor) {
  constexpr uint64_t kSolSocket = 1, kDomain = 39, kSolTcp = 6, kUpperLayerProtocol = 31;
  constexpr int kInet = 2, kInet6 = 10, kXdpFamily = 44;
  const int64_t self = pid_ != 0 ? pid_ : RawSyscall(__NR_getpid);
  const int64_t process = RawSyscall(__NR_pidfd_open, Arg(self), 0);
  if (process < 0) return std::unexpected(ErrnoOf(process));
  const int64_t copy = RawSyscall(__NR_pidfd_getfd, Arg(process), Arg(descriptor), 0);
  RawSyscall(__NR_close, Arg(process));
  if (copy < 0) return std::unexpected(ErrnoOf(copy));
  int domain = 0;
  uint32_t domain_bytes = sizeof domain;
  RawSyscall(__NR_getsockopt, Arg(copy), kSolSocket, kDomain, AddressOf(&domain),
             AddressOf(&domain_bytes));
  SocketKind kind = SocketKind::kOrdinary;
  if (domain == kXdpFamily) kind = SocketKind::kXdp;
  if (domain == kInet || domain == kInet6) {
    char name[16] = {};
    uint32_t name_bytes = sizeof name;
    const int64_t got = RawSyscall(__NR_getsockopt, Arg(copy), kSolTcp, kUpperLayerProtocol,
                                   AddressOf(&name[0]), AddressOf(&name_bytes));
    if (got == 0 && name[0] == 't' && name[1] == 'l' && name[2] == 's' && name[3] == '\0')
      kind = SocketKind::kKernelTls;
  }
  RawSyscall(__NR_close, Arg(copy));
  return kind;
}

Switches LinuxKernel::CountSwitches() {
  rusage usage;
  constexpr int64_t kThisThread = 1;
  if (RawSyscall(__NR_getrusage, Arg(kThisThread), AddressOf(&usage)) < 0) return {};
  return {static_cast<uint64_t>(usage.ru_nvcsw), static_cast<uint64_t>(usage.ru_nivcsw)};
}

Result<uint64_t> LinuxKernel::RobustListOf(int32_t thread) {
  uint64_t head = 0, bytes = 0;
  const int64_t result =
      RawSyscall(__NR_get_robust_list, Arg(thread), AddressOf(&head), AddressOf(&bytes));
  if (result < 0) return std::unexpected(ErrnoOf(result));
  return head;
}

Result<uint64_t> LinuxKernel::ReadFile(const char* path, std::span<char> buffer) {
  const auto file = Open(path, O_RDONLY);
  if (!file.has_value()) return std::unexpected(file.error());
  uint64_t used = 0;
  int64_t got = 1;
  while (used < buffer.size() &&
         (got = RawSyscallRetry(__NR_read, Arg(*file), AddressOf(buffer.data()) + used,
                                buffer.size() - used)) > 0)
    used += static_cast<uint64_t>(got);
  RawSyscall(__NR_close, Arg(*file));
  if (got < 0) return std::unexpected(ErrnoOf(got));
  return used;
}

namespace {

uint64_t Ns(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t ReadClockNs(uint64_t clock) {
  timespec now;
  RawSyscall(__NR_clock_gettime, clock, AddressOf(&now));
  return Ns(now);
}

}  // namespace

uint64_t LinuxKernel::NowNs() {
  timespec now;
  if (clock_ != nullptr && clock_(CLOCK_MONOTONIC, &now) == 0) return Ns(now);
  return ReadClockNs(CLOCK_MONOTONIC);
}

uint64_t LinuxKernel::ThreadCpuNs() {
  return ReadClockNs(CLOCK_THREAD_CPUTIME_ID);
}

void LinuxKernel::PinThread() {
  unsigned cpu = 0;
  pinned_ = allowed_cpus_.Read() && RawSyscall(__NR_getcpu, AddressOf(&cpu), 0, 0) >= 0 &&
            cpu < CpuMask::kCpusMax;
  if (!pinned_) return;
  CpuMask one;
  one.Add(cpu);
  one.Set();
}

void LinuxKernel::UnpinThread() {
  if (pinned_) allowed_cpus_.Set();
  pinned_ = false;
}

void LinuxKernel::RunOn(int32_t cpu) {
  if (cpu < 0 || static_cast<uint32_t>(cpu) >= CpuMask::kCpusMax) return;
  CpuMask one;
  one.Add(static_cast<uint32_t>(cpu));
  one.Set();
}

void LinuxKernel::BecomeHelper(int32_t cpu) {
  constexpr uint64_t kIdlePolicy = 5;
  const int32_t priority = 0;
  RawSyscall(__NR_sched_setscheduler, 0, kIdlePolicy, AddressOf(&priority));
  RunOn(cpu);
}

void LinuxKernel::LetHelperRun(int32_t thread) {
  constexpr uint64_t kOrdinaryPolicy = 0;
  const int32_t priority = 0;
  CpuMask mine;
  if (mine.Read()) mine.SetFor(thread);
  RawSyscall(__NR_sched_setscheduler, Arg(thread), kOrdinaryPolicy, AddressOf(&priority));
}

int32_t LinuxKernel::ThreadId() {
  return static_cast<int32_t>(RawSyscall(__NR_gettid));
}

void LinuxKernel::KeepOff(std::span<const int16_t> cpus) {
  if (keeps_off_) before_keeping_off_.Set();
  keeps_off_ = false;
  if (cpus.empty() || !before_keeping_off_.Read()) return;
  CpuMask rest = before_keeping_off_;
  for (const int16_t cpu : cpus)
    if (cpu >= 0) rest.Remove(static_cast<uint32_t>(cpu));
  keeps_off_ = !rest.IsEmpty();
  if (keeps_off_) rest.Set();
}

}  // namespace drover::kernel
