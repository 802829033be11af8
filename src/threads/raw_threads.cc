#include "threads/raw_threads.h"

#include <asm/unistd.h>
#include <linux/sched.h>

#include "kernel/raw_syscall.h"
#include "threads/futex.h"

namespace drover::threads {
namespace {

using kernel::AddressOf;
using kernel::RawSyscall;

// No CLONE_SETTLS: the thread shares the starter's thread pointer, so nothing it runs may use
// thread-local storage or libc. Returns the new thread's id or a negative error number.
int64_t CloneThread(uint64_t* stack_top, Word* alive) {
  constexpr uint64_t kFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                              CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  int64_t result;
  register uint64_t r10 asm("r10") = AddressOf(alive);
  register uint64_t r8 asm("r8") = 0;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"  // the end of every backtrace
      "pop %%rax\n"         // the body
      "pop %%rdi\n"         // its argument; rsp is now 16-byte aligned
      "call *%%rax\n"
      "mov %[exit], %%eax\n"
      "xor %%edi, %%edi\n"
      "syscall\n"
      "1:"
      : "=a"(result)
      : "a"(__NR_clone), "D"(kFlags), "S"(stack_top), "d"(AddressOf(alive)), "r"(r10),
        "r"(r8), [exit] "i"(__NR_exit)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace

kernel::Errno RawThreads::StartOn(Range stack, Body body, void* argument, Word* alive) {
  uint64_t* top = reinterpret_cast<uint64_t*>(stack.end()) - 4;
  top[0] = reinterpret_cast<uint64_t>(body);
  top[1] = AddressOf(argument);
  // pthread_sigmask would leave out the two signals that glibc keeps for itself.
  const uint64_t all = ~uint64_t{0};
  uint64_t before = 0;
  constexpr uint64_t kSetMask = 2, kMaskBytes = 8;
  RawSyscall(__NR_rt_sigprocmask, kSetMask, AddressOf(&all), AddressOf(&before), kMaskBytes);
  const int64_t result = CloneThread(top, alive);
  RawSyscall(__NR_rt_sigprocmask, kSetMask, AddressOf(&before), 0, kMaskBytes);
  return kernel::ErrnoOf(result);
}

kernel::Errno RawThreads::Start(Body body, void* argument) {
  if (started_ == kThreadsMax) return kernel::Errno::kAgain;
  const Range stack{stacks_.start + started_ * kStackBytes, kStackBytes};
  const kernel::Errno error = StartOn(stack, body, argument, &alive_[started_]);
  if (error == kernel::Errno::kOk) ++started_;
  return error;
}

void RawThreads::JoinAll() {
  for (uint32_t i = 0; i < started_; ++i)
    for (uint32_t id; (id = alive_[i].load(std::memory_order_acquire)) != 0;)
      FutexWait(alive_[i], id, 0);
  started_ = 0;
}

void RawThreads::Wait(const Word& word, uint32_t expected, uint64_t timeout_ns) {
  FutexWait(word, expected, timeout_ns);
}

void RawThreads::WakeAll(const Word& word) {
  FutexWakeAll(word);
}

}  // namespace drover::threads
