// The gate between batches. Calls of the application that must not meet a registered batch (mremap,
// pthread_create, setuid) pass through it; a batch closes it.
//
// Threads: Enter and Leave on any thread of the application, any depth (a caller inside may enter
// again); Close and Open on the mover only. It lives in memory that a child sees as zeros, which
// is an open gate.
#pragma once

#include <atomic>
#include <cstdint>

#include "flow/job.h"
#include "threads/futex.h"

namespace drover::flow {

class Gate {
 public:
  // `depth` is the caller's thread-local count.
  void Enter(uint32_t* depth) {
    if (*depth > 0) {
      ++*depth;
      return;
    }
    uint64_t begin_ns = 0;  // of the wait
    for (;;) {
      uint32_t seen = word_.load(std::memory_order_relaxed);
      if ((seen & kClosed) == 0) {
        if (word_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire)) break;
        continue;
      }
      if (begin_ns == 0) begin_ns = NowNs();
      waiting_.fetch_add(1);
      threads::FutexWait(word_, seen, 0);
      waiting_.fetch_sub(1);
    }
    if (begin_ns != 0) NoteWait(NowNs() - begin_ns);
    // Only now: a signal handler that runs while this thread waits must wait, too.
    *depth = 1;
  }

  // Waits since the last call of this; on the mover.
  GateWaits TakeWaits() {
    return {waits_.exchange(0), waited_ns_.exchange(0), longest_ns_.exchange(0)};
  }

  void Leave(uint32_t* depth) {
    if (*depth == 0) return;  // a child that was made inside the gate
    if (--*depth > 0) return;
    const uint32_t before = word_.fetch_sub(1, std::memory_order_release);
    if ((before & kClosed) != 0) threads::FutexWakeAll(word_);
  }

  // Shuts out new callers and waits for those inside; false: they stayed longer than
  // `patience_ns`, and the gate is open again.
  [[nodiscard]] bool Close(uint64_t patience_ns) {
    uint32_t seen = word_.fetch_or(kClosed, std::memory_order_acquire) | kClosed;
    for (uint64_t waited_ns = 0; seen != kClosed; waited_ns += kNapNs) {
      if (waited_ns >= patience_ns) return Open(), false;
      threads::FutexWait(word_, seen, kNapNs);
      seen = word_.load(std::memory_order_acquire);
    }
    return true;
  }

  // The same, again and again with pauses in which callers pass.
  template <class Pause>
  [[nodiscard]] bool CloseInTime(uint64_t patience_ns, uint32_t tries, const Pause& pause) {
    for (uint32_t i = 0; i < tries; ++i) {
      if (Close(patience_ns)) return true;
      pause();
    }
    return false;
  }

  void Open() {
    word_.fetch_and(~kClosed);
    // (Who counts itself behind this look finds the word changed.)
    if (waiting_.load() != 0) threads::FutexWakeAll(word_);
  }

 private:
  static uint64_t NowNs() {
    __kernel_timespec now{};
    kernel::RawSyscall(__NR_clock_gettime, kMonotonic, kernel::AddressOf(&now));
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }
  // By whoever has waited; by nobody else.
  void NoteWait(uint64_t ns) {
    waits_.fetch_add(1, std::memory_order_relaxed);
    waited_ns_.fetch_add(ns, std::memory_order_relaxed);
    uint64_t longest = longest_ns_.load(std::memory_order_relaxed);
    while (ns > longest && !longest_ns_.compare_exchange_weak(longest, ns)) {
    }
  }

  static constexpr uint64_t kMonotonic = 1;  // CLOCK_MONOTONIC
  static constexpr uint32_t kClosed = 1u << 31;
  static constexpr uint64_t kNapNs = 1'000'000;
  threads::Word word_ = 0;
  std::atomic<uint32_t> waiting_ = 0;  // at least so many sleep until it opens
  std::atomic<uint64_t> waits_ = 0, waited_ns_ = 0, longest_ns_ = 0;
};

}  // namespace drover::flow
