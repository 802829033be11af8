#include "threads/posix_threads.h"

#include "threads/futex.h"

namespace drover::threads {
namespace {

void AllowIdentity(bool allow) {
  constexpr uint64_t kBlock = 0, kUnblock = 1;
  constexpr uint64_t kSetIdentity = uint64_t{1} << (33 - 1);  // glibc's SIGSETXID
  kernel::RawSyscall(__NR_rt_sigprocmask, allow ? kUnblock : kBlock,
                     kernel::AddressOf(&kSetIdentity), 0, sizeof kSetIdentity);
}

}  // namespace

kernel::Errno PosixThreads::Start(Body body, void* argument) {
  if (started_ == kThreadsMax) return kernel::Errno::kAgain;
  tasks_[started_] = {body, argument};
  pthread_attr_t how;
  pthread_attr_init(&how);
  pthread_attr_setstack(&how, reinterpret_cast<void*>(stacks_.start + started_ * kStackBytes),
                        kStackBytes);
  const auto run = [](void* task) -> void* {
    // pthread_sigmask leaves out the two signals of glibc's own; the raw call takes all.
    const uint64_t all = ~uint64_t{0};
    kernel::RawSyscall(__NR_rt_sigprocmask, 2, kernel::AddressOf(&all), 0, sizeof all);
    static_cast<Task*>(task)->body(static_cast<Task*>(task)->argument);
    // A setuid that has asked this thread waits for its answer, also when it is ending.
    AllowIdentity(true);
    return nullptr;
  };
  const int error = pthread_create(&threads_[started_], &how, run, &tasks_[started_]);
  pthread_attr_destroy(&how);
  if (error == 0) ++started_;
  return static_cast<kernel::Errno>(error);
}

void PosixThreads::JoinAll() {
  for (uint32_t i = 0; i < started_; ++i) pthread_join(threads_[i], nullptr);
  started_ = 0;
}

void PosixThreads::Wait(const Word& word, uint32_t expected, uint64_t timeout_ns) {
  FutexWait(word, expected, timeout_ns);
}

void PosixThreads::WakeAll(const Word& word) {
  FutexWakeAll(word);
}

void PosixThreads::AllowIdentitySignal(bool allow) {
  AllowIdentity(allow);
}

}  // namespace drover::threads
