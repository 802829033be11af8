// Sleeping on a word and waking its sleepers, without libc. Freestanding.
#pragma once

#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/time_types.h>

#include "kernel/raw_syscall.h"
#include "threads/threads.h"

namespace drover::threads {

inline void FutexWait(const Word& word, uint32_t expected, uint64_t timeout_ns) {
  __kernel_timespec timeout{static_cast<int64_t>(timeout_ns / 1'000'000'000),
                            static_cast<int64_t>(timeout_ns % 1'000'000'000)};
  kernel::RawSyscall(__NR_futex, kernel::AddressOf(&word), FUTEX_WAIT, expected,
                     timeout_ns == 0 ? 0 : kernel::AddressOf(&timeout));
}

inline void FutexWakeAll(const Word& word) {
  kernel::RawSyscall(__NR_futex, kernel::AddressOf(&word), FUTEX_WAKE, 1u << 30);
}

}  // namespace drover::threads
