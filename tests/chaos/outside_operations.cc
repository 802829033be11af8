// What others do to the pages: a ring of the kernel's, another process, a debugger.
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "chaos/debugger.h"
#include "chaos/operations.h"
#include "chaos/source.h"

namespace drover::chaos {
namespace {

// io_uring by its system calls: one request at a time.
class Ring {
 public:
  Ring() {
    io_uring_params params = {};
    ring_ = static_cast<int>(syscall(SYS_io_uring_setup, 1, &params));
    if (ring_ < 0 || (params.features & IORING_FEAT_SINGLE_MMAP) == 0) return;
    const uint64_t bytes =
        std::max<uint64_t>(params.sq_off.array + sizeof(uint32_t),
                           params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
    auto* rings = static_cast<char*>(MapPart(bytes, IORING_OFF_SQ_RING));
    requests_ = static_cast<io_uring_sqe*>(MapPart(sizeof(io_uring_sqe), IORING_OFF_SQES));
    if (rings == MAP_FAILED || requests_ == MAP_FAILED) return;
    tail_ = reinterpret_cast<std::atomic<uint32_t>*>(rings + params.sq_off.tail);
    head_ = reinterpret_cast<std::atomic<uint32_t>*>(rings + params.cq_off.head);
    done_ = reinterpret_cast<std::atomic<uint32_t>*>(rings + params.cq_off.tail);
    answers_ = reinterpret_cast<io_uring_cqe*>(rings + params.cq_off.cqes);
    answers_mask_ = *reinterpret_cast<uint32_t*>(rings + params.cq_off.ring_mask);
    *reinterpret_cast<uint32_t*>(rings + params.sq_off.array) = 0;
    good_ = true;
  }
  // Lives as long as its thread, and that as long as the program: the ring ends with that.
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  bool good() const { return good_; }
  // What it answers: bytes, or -errno.
  int64_t Do(uint8_t operation, int file, void* memory, uint64_t bytes, uint64_t place) {
    requests_[0] = {};
    requests_[0].opcode = operation;
    requests_[0].fd = file;
    requests_[0].addr = reinterpret_cast<uint64_t>(memory);
    requests_[0].off = place;
    requests_[0].len = static_cast<uint32_t>(bytes);
    tail_->fetch_add(1, std::memory_order_release);
    // A signal (the profiler's) can end the wait, also of a call that says that it took the
    // request.
    for (unsigned given = 1;
         given > 0 || done_->load(std::memory_order_acquire) == head_->load();) {
      const long got =
          syscall(SYS_io_uring_enter, ring_, given, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
      if (got > 0) given = 0;
      if (got < 0 && errno != EINTR) return -errno;
    }
    const int64_t answer = answers_[head_->load() & answers_mask_].res;
    head_->fetch_add(1, std::memory_order_release);
    return answer;
  }

 private:
  void* MapPart(uint64_t bytes, uint64_t what) const {
    return mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring_,
                static_cast<off_t>(what));
  }
  int ring_ = -1;
  bool good_ = false;
  io_uring_sqe* requests_ = nullptr;
  io_uring_cqe* answers_ = nullptr;
  uint32_t answers_mask_ = 0;
  std::atomic<uint32_t>*tail_ = nullptr, *head_ = nullptr, *done_ = nullptr;
};
Ring& TheRing() {
  thread_local Ring ring;
  return ring;
}

// As much as has been done, in as many requests as it takes: where a page is away, one may end
// short.
bool AllByRing(uint8_t operation, int file, Target& target) {
  for (uint64_t done = 0; done < target.bytes();) {
    const int64_t got =
        TheRing().Do(operation, file, target.start() + done, target.bytes() - done, done);
    if (got <= 0) return false;
    done += static_cast<uint64_t>(got);
  }
  return true;
}
bool ReadByRing(Target& target) {
  static const int file = SourceFile(0);
  if (file < 0 || !TheRing().good()) return false;
  if (!AllByRing(IORING_OP_READ, file, target)) target.wrong = true;
  SetToSource(target);
  return true;
}
bool WriteByRing(Target& target) {
  thread_local const int file = memfd_create("chaos", MFD_CLOEXEC);
  if (!TheRing().good()) return false;
  if (!AllByRing(IORING_OP_WRITE, file, target)) target.wrong = true;
  if (pread(file, Aside(), target.bytes(), 0) != static_cast<ssize_t>(target.bytes()))
    target.wrong = true;
  CheckCopy(target, Aside());
  return true;
}

// A child as another process, on the thread that called: 0 all right, 1 not.
template <class Act>
bool ByAnother(Target& target, const Act& act) {
  const auto caller = static_cast<pid_t>(syscall(SYS_gettid));
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    const bool right = act(caller);
    syscall(SYS_exit_group, right ? 0 : 1);
  }
  if (!EndsRight(child)) target.wrong = true;
  return true;
}

bool WriteFromOutside(Target& target) {
  const bool done = ByAnother(target, [&target](pid_t caller) {
    const iovec from = {const_cast<char*>(TheSource().text.data()), target.bytes()};
    const iovec to = {target.start(), target.bytes()};
    return process_vm_writev(caller, &from, 1, &to, 1, 0) == static_cast<ssize_t>(target.bytes());
  });
  if (done) SetToSource(target);
  return done;
}
bool ReadFromOutside(Target& target) {
  return ByAnother(target, [&target](pid_t caller) {
    const iovec from = {target.start(), target.bytes()};
    const iovec to = {Aside(), target.bytes()};
    if (process_vm_readv(caller, &to, 1, &from, 1, 0) != static_cast<ssize_t>(target.bytes()))
      return false;
    CheckCopy(target, Aside());
    return !target.wrong;
  });
}

// The word of a stopped thread's memory. In a hole the kernel does not wait but says EIO, so again.
bool PeekAndPoke(pid_t thread, char* word, uint64_t expected, uint64_t fresh) {
  long got = 0;
  do {
    errno = 0;
    got = ptrace(PTRACE_PEEKDATA, thread, word, nullptr);
  } while (errno == EIO);
  if (errno != 0 || static_cast<uint64_t>(got) != expected) return false;
  while (ptrace(PTRACE_POKEDATA, thread, word, fresh) != 0)
    if (errno != EIO) return false;
  return true;
}
// A debugger looks at a word of each page and writes it anew. What is to be there is known for data
// only.
bool Debug(Target& target) {
  target.count = std::min<uint64_t>(target.count, 8);
  const uint64_t seed = target.random.Next();
  for (uint64_t i = 0; i < target.count; ++i) target.slice.Write(target.first + i, seed + i);
  const bool done = ByAnother(target, [&target, seed](pid_t caller) {
    if (ptrace(PTRACE_SEIZE, caller, nullptr, nullptr) != 0) return errno == EPERM;
    StopSeized(caller);
    bool right = true;
    for (uint64_t i = 0; i < target.count && right; ++i) {
      const uint64_t word = Slice::WordOf(seed + i, 0);
      right = PeekAndPoke(caller, target.start() + i * kPage, word, ~word) &&
              PeekAndPoke(caller, target.start() + i * kPage, ~word, word);
    }
    ptrace(PTRACE_DETACH, caller, nullptr, nullptr);
    return right;
  });
  return done;
}

constexpr Operation kOutsideOperations[] = {
    {"ring-read", ReadByRing},
    {"ring-write", WriteByRing},
    {"write-from-outside", WriteFromOutside},
    {"read-from-outside", ReadFromOutside},
    {"debugger", Debug},
};

}  // namespace

std::span<const Operation> OutsideOperations() {
  return kOutsideOperations;
}

}  // namespace drover::chaos
