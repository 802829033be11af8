// A program whose memory is moved between nodes, and that notices if a word of it changes.
//
//   drover_victim [--small-mib N] [--huge-mib N] [--threads N] [--node N] [--mixed]
//
// Fills 4 KiB pages and huge pages on one node, lets its threads read and write them, and prints
//   ready PID small START BYTES huge START BYTES mixed START BYTES
// On SIGTERM it looks at every word: exit code 0, or 1 where one is wrong.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "live/checked_memory.h"

namespace drover::vm {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kMixedPages = 16;
constexpr size_t kWordsPerLine = 8;  // the first of each cache line is CheckedMemory's

struct Options {
  size_t small_mib = 16, huge_mib = 16;
  uint32_t threads = 4;
  int node = 0;
  bool mixed = false;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
    if (word == "--small-mib") options.small_mib = static_cast<size_t>(number());
    if (word == "--huge-mib") options.huge_mib = static_cast<size_t>(number());
    if (word == "--threads") options.threads = static_cast<uint32_t>(number());
    if (word == "--node") options.node = number();
    if (word == "--mixed") options.mixed = true;
  }
  return options;
}

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::_Exit(9);
}

// Where this thread's new pages come from; -1: wherever the kernel likes.
void AllocateOn(int node) {
  const uint64_t mask = node >= 0 ? uint64_t{1} << node : 0;
  const int mode = node >= 0 ? MPOL_BIND : MPOL_DEFAULT;
  if (syscall(SYS_set_mempolicy, mode, node >= 0 ? &mask : nullptr, 64) != 0) Die("set_mempolicy");
}

// Memory under threads, and the words between those that CheckedMemory looks after: each holds
// what its place says, and nobody writes it again.
class FullyChecked {
 public:
  FullyChecked(size_t mib, bool huge) : memory_(mib << 20, huge) {
    for (size_t i = 0; i < word_count(); ++i)
      if (i % kWordsPerLine != 0) words()[i] = ~i;
  }
  void Start(uint32_t threads) {
    if (word_count() > 0) memory_.StartThreads(threads);
  }
  uint64_t StopAndCountWrongWords() {
    uint64_t wrong = memory_.StopThreadsAndCountWrongWords();
    for (size_t i = 0; i < word_count(); ++i) wrong += i % kWordsPerLine != 0 && words()[i] != ~i;
    return wrong;
  }
  const void* start() const { return memory_.range().start; }
  size_t bytes() const { return memory_.range().length_bytes; }

 private:
  volatile uint64_t* words() const {
    return static_cast<uint64_t*>(const_cast<void*>(memory_.range().start));
  }
  size_t word_count() const { return bytes() / sizeof(uint64_t); }

  live::CheckedMemory memory_;
};

// Sixteen pages in a row: the first is pinned for a device, the second is a page of a file that
// another process has mapped as well, the others are plain. All start with their own address.
class MixedPages {
 public:
  MixedPages() {
    void* mapped =
        mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) Die("mmap");
    start_ = static_cast<char*>(mapped);
    MapShared();
    for (size_t i = 0; i < kMixedPages; ++i) *WordOf(i) = Value(i);
    Pin();
  }
  uint64_t CountWrongWords() const {
    uint64_t wrong = 0;
    for (size_t i = 0; i < kMixedPages; ++i) wrong += *WordOf(i) != Value(i);
    return wrong;
  }
  const void* start() const { return start_; }
  static size_t bytes() { return kMixedPages * kPageBytes; }

 private:
  // The other process comes before the pages are filled, so that it shares nothing else of them.
  void MapShared() {
    const int file = memfd_create("drover-victim", MFD_CLOEXEC);
    int touched[2];
    if (file < 0 || ftruncate(file, kPageBytes) != 0 || pipe2(touched, O_CLOEXEC) != 0)
      Die("shared page");
    if (mmap(start_ + kPageBytes, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file,
             0) == MAP_FAILED)
      Die("mmap");
    if (fork() == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      *reinterpret_cast<volatile uint64_t*>(start_ + kPageBytes) = 1;
      if (write(touched[1], "x", 1) != 1) std::_Exit(1);
      for (;;) pause();
    }
    char byte;
    if (read(touched[0], &byte, 1) != 1) Die("other process");
  }
  // As a buffer of io_uring; the ring lives as long as the program.
  void Pin() {
    io_uring_params parameters{};
    const long ring = syscall(SYS_io_uring_setup, 1, &parameters);
    const iovec buffer{start_, kPageBytes};
    if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1) != 0)
      Die("io_uring");
  }
  volatile uint64_t* WordOf(size_t page) const {
    return reinterpret_cast<volatile uint64_t*>(start_ + page * kPageBytes);
  }
  uint64_t Value(size_t page) const { return reinterpret_cast<uintptr_t>(WordOf(page)); }

  char* start_ = nullptr;
};

int Run(const Options& options) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  AllocateOn(options.node);
  MixedPages* mixed = options.mixed ? new MixedPages : nullptr;
  FullyChecked small(options.small_mib, false), huge(options.huge_mib, true);
  AllocateOn(-1);
  small.Start(options.threads / 2);
  huge.Start(options.threads - options.threads / 2);
  std::printf("ready %d small %#zx %zu huge %#zx %zu mixed %#zx %zu\n", getpid(),
              reinterpret_cast<size_t>(small.start()), small.bytes(),
              reinterpret_cast<size_t>(huge.start()), huge.bytes(),
              reinterpret_cast<size_t>(mixed != nullptr ? mixed->start() : nullptr),
              mixed != nullptr ? MixedPages::bytes() : 0);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&end, &signal);
  const uint64_t wrong = small.StopAndCountWrongWords() + huge.StopAndCountWrongWords() +
                         (mixed != nullptr ? mixed->CountWrongWords() : 0);
  if (wrong > 0) std::fprintf(stderr, "drover_victim: %zu words are wrong\n", size_t{wrong});
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace drover::vm

int main(int argc, char** argv) {
  return drover::vm::Run(drover::vm::Parse(argc, argv));
}
