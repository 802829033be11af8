#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "conformance/world.h"
#include "kernel/linux_kernel.h"
#include "live/zero_pages.h"

namespace drover::conformance {
namespace {

using kernel::LinuxKernel;

// Absent from Debian 12's headers.
constexpr int kGuardInstall = 102;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

void* At(uint64_t address) {
  return reinterpret_cast<void*>(address);
}

int ProtectionOf(Rights rights) {
  return (rights.read ? PROT_READ : 0) | (rights.write ? PROT_WRITE : 0) |
         (rights.execute ? PROT_EXEC : 0);
}

bool VersionAtLeast(int major, int minor) {
  utsname name;
  int has_major = 0, has_minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &has_major, &has_minor) != 2)
    return false;
  return has_major > major || (has_major == major && has_minor >= minor);
}

// Runs on a thread of its own; whoever destroys it waits, so End() of the world comes first.
class ThreadActivity final : public Activity {
 public:
  explicit ThreadActivity(std::function<void()> run)
      : thread_([this, run = std::move(run)] {
          run();
          done_.store(true);
        }) {}
  ~ThreadActivity() override { Wait(); }
  bool Done() override { return done_.load(); }
  void Wait() override {
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> done_ = false;
  std::thread thread_;
};

// Reads words of its memory on command. Made by a bare system call: libc's fork holds the heap's
// lock while the kernel waits for the event to be read.
class Process final : public Child {
 public:
  static std::unique_ptr<Process> Fork() {
    auto process = std::make_unique<Process>();
    if (pipe2(process->asks_, O_CLOEXEC) != 0 || pipe2(process->tells_, O_CLOEXEC) != 0)
      Die("pipe2");
    process->id_ = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (process->id_ < 0) Die("clone");
    if (process->id_ == 0) process->Serve();
    close(process->asks_[0]);
    close(process->tells_[1]);
    return process;
  }
  ~Process() override {
    kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
    close(asks_[1]);
    close(tells_[0]);
  }
  std::optional<uint64_t> ReadWord(uint64_t address) override {
    uint64_t word = 0;
    if (write(asks_[1], &address, sizeof address) != sizeof address) return std::nullopt;
    if (read(tells_[0], &word, sizeof word) != sizeof word) return std::nullopt;
    return word;
  }

 private:
  [[noreturn]] void Serve() {
    close(asks_[1]);  // its end tells that the parent is gone
    close(tells_[0]);
    signal(SIGSEGV, SIG_DFL);
    uint64_t address;
    while (read(asks_[0], &address, sizeof address) == sizeof address) {
      const uint64_t word = *static_cast<volatile uint64_t*>(At(address));
      if (write(tells_[1], &word, sizeof word) != sizeof word) break;
    }
    _exit(0);
  }

  pid_t id_ = 0;
  int asks_[2], tells_[2];
};

// FOLL_PIN on a range for as long as it lives.
class FixedBuffer {
 public:
  explicit FixedBuffer(Range range) {
    io_uring_params parameters{};
    ring_ = static_cast<int>(syscall(SYS_io_uring_setup, 1, &parameters));
    iovec buffer{At(range.start), range.length};
    pinned_ = ring_ >= 0 &&
              syscall(SYS_io_uring_register, ring_, IORING_REGISTER_BUFFERS, &buffer, 1) == 0;
  }
  ~FixedBuffer() {
    // Unregistering lets go before it returns; closing alone does so some time later.
    if (pinned_) syscall(SYS_io_uring_register, ring_, IORING_UNREGISTER_BUFFERS, nullptr, 0);
    if (ring_ >= 0) close(ring_);
  }
  FixedBuffer(const FixedBuffer&) = delete;
  FixedBuffer& operator=(const FixedBuffer&) = delete;
  bool pinned() const { return pinned_; }

 private:
  int ring_;
  bool pinned_;
};

class RealWorld final : public World {
 public:
  RealWorld() {
    if (kernel_.OpenSelf(kernel::kFeaturesWanted) != kernel::Errno::kOk)
      Die("userfaultfd with all features (needs root)");
    // Shared, so that none of the mappings cut out of it merges with what is left.
    void* reserve =
        mmap(nullptr, kReserveBytes, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserve == MAP_FAILED) Die("mmap");
    reserve_ = {reinterpret_cast<uint64_t>(reserve), kReserveBytes};
    next_ = RoundUp(reserve_.start, kHugeBytes) + kHugeBytes;
  }
  ~RealWorld() override {
    End();
    munmap(At(reserve_.start), reserve_.length);
  }

  kernel::Kernel& kernel() override { return kernel_; }
  bool Has(Ability ability) override;

  uint64_t Map(uint64_t bytes, Rights rights, Backing backing) override;
  void Protect(Range range, Rights rights) override {
    if (mprotect(At(range.start), range.length, ProtectionOf(rights)) != 0) Die("mprotect");
  }
  void Lock(Range range) override {
    if (mlock2(At(range.start), range.length, MLOCK_ONFAULT) != 0) Die("mlock2");
  }
  void Guard(Range range) override {
    if (madvise(At(range.start), range.length, kGuardInstall) != 0) Die("MADV_GUARD_INSTALL");
  }
  void WriteWord(uint64_t address, uint64_t value) override {
    *static_cast<volatile uint64_t*>(At(address)) = value;
  }
  uint64_t ReadWord(uint64_t address) override {
    return *static_cast<volatile uint64_t*>(At(address));
  }
  void Pin(Range range) override {
    pins_[range.start] = std::make_unique<FixedBuffer>(range);
    if (!pins_[range.start]->pinned()) Die("io_uring fixed buffer");
  }
  void Unpin(Range range) override { pins_.erase(range.start); }
  void RegisterElsewhere(Range range) override {
    if (other_.OpenSelf(kernel::kFeatureMove) != kernel::Errno::kOk) Die("second userfaultfd");
    if (other_.Register(range, kernel::RegisterMode::kMissing) != kernel::Errno::kOk)
      Die("second registration");
  }

  std::unique_ptr<Activity> StartTouch(uint64_t address, bool write) override {
    return Run([this, address, write] {
      if (write)
        WriteWord(address, 1);
      else
        (void)ReadWord(address);
    });
  }
  std::unique_ptr<Activity> StartDiscard(Range range) override {
    return Run([range] { madvise(At(range.start), range.length, MADV_DONTNEED); });
  }
  std::unique_ptr<Activity> StartUnmap(Range range) override {
    return Run([range] { munmap(At(range.start), range.length); });
  }
  std::unique_ptr<Activity> StartMapOver(Range range) override {
    return Run([range] {
      mmap(At(range.start), range.length, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    });
  }
  std::unique_ptr<Activity> StartRemap(Range range, uint64_t* target) override {
    *target = Cut(range.length) + range.start % kHugeBytes;
    return Run([range, to = *target] {
      if (mremap(At(range.start), range.length, range.length, MREMAP_MAYMOVE | MREMAP_FIXED,
                 At(to)) == MAP_FAILED)
        Die("mremap");
    });
  }
  std::unique_ptr<Activity> StartFork() override {
    return Run([this] { child_ = Process::Fork(); });
  }
  std::unique_ptr<Child> TakeChild() override { return std::move(child_); }
  void End() override {
    kernel_.Close();
    other_.Close();
    pins_.clear();
  }

 private:
  static constexpr uint64_t kReserveBytes = uint64_t{1} << 30;

  std::unique_ptr<Activity> Run(std::function<void()> run) {
    return std::make_unique<ThreadActivity>(std::move(run));
  }
  uint64_t Cut(uint64_t bytes) {
    const uint64_t start = next_;
    next_ += RoundUp(bytes, kHugeBytes) + 2 * kHugeBytes;
    if (next_ > reserve_.end()) Die("the reserve is used up");
    return start;
  }

  LinuxKernel kernel_, other_;
  Range reserve_;
  uint64_t next_ = 0;
  std::map<uint64_t, std::unique_ptr<FixedBuffer>> pins_;
  std::unique_ptr<Process> child_;
};

bool RealWorld::Has(Ability ability) {
  switch (ability) {
    case Ability::kGuards: {
      const uint64_t page = Map(kPageBytes, {}, {});
      return madvise(At(page), kPageBytes, kGuardInstall) == 0;
    }
    case Ability::kGuardBit:
      return VersionAtLeast(6, 15);
    case Ability::kHugePages: {
      std::string line;
      std::getline(std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled"), line);
      return line.find("[never]") == std::string::npos && !line.empty();
    }
    case Ability::kZeroPages:
      return live::HasZeroPages();
    case Ability::kPageTableReclaim:
      return VersionAtLeast(6, 14);
    case Ability::kPins: {
      const uint64_t page = Map(kPageBytes, {}, {});
      return FixedBuffer({page, kPageBytes}).pinned();
    }
    case Ability::kDiskFiles: {
      struct statfs found;
      return statfs("/tmp", &found) == 0 && found.f_type != TMPFS_MAGIC &&
             found.f_type != RAMFS_MAGIC;
    }
    // Linux 6.12 spins (seen), 6.18 answers EBUSY (seen), 7.2 can spin (its source).
    case Ability::kRefusesParts:
      return VersionAtLeast(6, 18) && !VersionAtLeast(7, 0);
    case Ability::kTwoNodes:
      return access("/sys/devices/system/node/node1", F_OK) == 0;
  }
  return false;
}

uint64_t RealWorld::Map(uint64_t bytes, Rights rights, Backing backing) {
  const uint64_t length = RoundUp(bytes, kPageBytes);
  const bool shared = backing == Backing::kSharedAnonymous || backing == Backing::kSharedFile;
  int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE);
  int file = -1;
  if (backing == Backing::kDiskFile) {
    char name[] = "/tmp/drover-conformance-XXXXXX";
    file = mkostemp(name, O_CLOEXEC);
    if (file < 0 || unlink(name) != 0) Die(name);
  } else if (backing == Backing::kPrivateFile || backing == Backing::kSharedFile) {
    file = memfd_create("drover-conformance", MFD_CLOEXEC);
    if (file < 0) Die("memfd_create");
  } else {
    flags |= MAP_ANONYMOUS | MAP_NORESERVE;
  }
  if (file >= 0 && ftruncate(file, static_cast<off_t>(length)) != 0) Die("ftruncate");
  void* mapped = mmap(At(Cut(length)), length, ProtectionOf(rights), flags, file, 0);
  if (mapped == MAP_FAILED) Die("mmap");
  if (file >= 0) close(file);
  return reinterpret_cast<uint64_t>(mapped);
}

}  // namespace

std::unique_ptr<World> MakeRealWorld() {
  return std::make_unique<RealWorld>();
}

}  // namespace drover::conformance
