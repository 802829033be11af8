// The core's view of threads: it never makes one by itself. Forms: raw_threads.h (agent: clone and
// futex, unknown to libc), posix_threads.h (library, benchmarks, every sanitizer build).
//
// Engine threads have stacks of their own mapping, all signals blocked, and the engine's table of
// descriptors.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/types.h"

namespace drover::threads {

using Word = std::atomic<uint32_t>;

class Threads {
 public:
  using Body = void (*)(void* argument);

  // Starts a thread; it runs until `body` returns. The stack is the engine's (see Stacks).
  [[nodiscard]] virtual kernel::Errno Start(Body body, void* argument) = 0;
  // Waits until every thread that Start made has ended.
  virtual void JoinAll() = 0;
  // Sleeps while `word` is `expected`, at most `timeout_ns` (0: no limit). May return early.
  virtual void Wait(const Word& word, uint32_t expected, uint64_t timeout_ns) = 0;
  virtual void WakeAll(const Word& word) = 0;
  // Lets in, or keeps out, the signal by which libc has every thread that it knows take part in a
  // setuid; called by an engine thread for itself. It is kept out at first, and must be in a
  // window. Threads that libc does not know never get it.
  virtual void AllowIdentitySignal(bool allow) = 0;
  // The stacks of the threads made here: engine memory, never moved.
  virtual Range Stacks() const = 0;

 protected:
  ~Threads() = default;
};

}  // namespace drover::threads
