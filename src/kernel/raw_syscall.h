// One system call, without libc: the result, or a negative error number. No errno, no cancellation,
// no lock; usable on a thread that libc does not know.
#pragma once

#include <cstdint>

#include "kernel/types.h"

#if !defined(__x86_64__)
#error "drover knows the system-call convention of x86-64 only"
#endif

namespace drover::kernel {

inline int64_t RawSyscall(int64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                          uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
  int64_t result;
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

// The same, again as long as a signal interrupts it.
inline int64_t RawSyscallRetry(int64_t number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                               uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
  int64_t result;
  do result = RawSyscall(number, a, b, c, d, e, f);
  while (result == -static_cast<int64_t>(Errno::kInterrupted));
  return result;
}

template <class T>
uint64_t AddressOf(T* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}

// A file descriptor as an argument register holds it.
inline uint64_t Arg(int64_t value) {
  return static_cast<uint64_t>(value);
}

inline Errno ErrnoOf(int64_t result) {
  return result < 0 ? static_cast<Errno>(-result) : Errno::kOk;
}

}  // namespace drover::kernel
