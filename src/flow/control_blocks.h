// Where libc keeps what the kernel writes for a thread by itself: at its exit (the word that
// pthread_join waits on, the robust list) and at preemption (rseq). The kernel gives up silently
// when the page is absent, so these pages never take the own path.
#pragma once

#include <atomic>

#include "flow/limits.h"
#include "kernel/kernel.h"

namespace drover::flow {

// How to get from a thread's robust list head to its control block. From libc
// (_thread_db_sizeof_pthread, __rseq_offset, __rseq_size), never from a constant; where libc does
// not tell, `known` is false and 16 KiB around the head are taken.
struct ControlBlockLayout {
  bool known = false;
  uint64_t head_offset = 0;  // of the robust list head in the control block
  uint64_t block_bytes = 0;  // of the control block
  int64_t rseq_offset = 0;   // of the rseq area, from the control block's start
  uint64_t rseq_bytes = 0;
};

// Control blocks of threads that were just made: such a thread tells the kernel its robust list
// only when it first runs. Written by the callers of pthread_create inside the gate, read by the
// mover while the gate is closed.
struct YoungThreads {
  std::atomic<uint32_t> next = 0;
  std::atomic<uint64_t> blocks[kYoungThreadsMax] = {};

  void Add(uint64_t block) {
    blocks[next.fetch_add(1, std::memory_order_relaxed) % kYoungThreadsMax].store(
        block, std::memory_order_release);
  }
};

class ControlBlocks {
 public:
  // Looks at every thread of the process again. kNoMemory: more threads than kControlBlocksMax.
  // `young` may be nullptr; a young thread that the kernel knows by now is struck off.
  [[nodiscard]] kernel::Errno Find(kernel::Kernel& kernel, const ControlBlockLayout& layout,
                                   YoungThreads* young);
  bool Holds(uint64_t page) const { return HoldsAny({page, kPageBytes}); }
  bool HoldsAny(Range range) const;  // a page of it
  // Is this a thread without a robust list, and no kernel worker of io_uring? Also true of a thread
  // that was made a moment ago.
  // `pid` 0: of the calling process.
  [[nodiscard]] static bool IsStranger(kernel::Kernel& kernel, int32_t pid, int32_t thread);

 private:
  uint64_t HeadBefore(int32_t thread) const;
  void Add(uint64_t start, uint64_t length);
  void AddBlock(uint64_t block, const ControlBlockLayout& layout);
  void Sort();

  // First and last page of each block, sorted by start.
  struct Block {
    uint64_t first, last;
  };
  Block blocks_[2 * kControlBlocksMax + 2 * kYoungThreadsMax];
  uint32_t count_;
  int32_t threads_[kControlBlocksMax];
  // The heads of this look and of the one before: a thread that is ending has dropped its head a
  // moment before the kernel writes to its block for the last time.
  struct Seen {
    int32_t thread;
    uint64_t head;
  };
  Seen seen_[2][kControlBlocksMax];
  uint32_t seen_count_[2];
  uint32_t now_;
};

}  // namespace drover::flow
