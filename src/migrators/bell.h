// Wakes threads that sleep until there is something to do for them; while none sleeps it costs no
// system call. Any thread. Freestanding.
#pragma once

#include "threads/threads.h"

namespace drover::migrators {

class Bell {
 public:
  explicit Bell(threads::Threads& threads) : threads_(threads) {}

  void Ring() {
    rung_.fetch_add(1);
    if (sleepers_.load() > 0) threads_.WakeAll(rung_);
  }
  // Read it, look for something to do, and sleep if there was nothing: what has come meanwhile has
  // rung.
  uint32_t rung() const { return rung_.load(); }
  void Sleep(uint32_t rung) {
    sleepers_.fetch_add(1);  // before the kernel looks at the word
    threads_.Wait(rung_, rung, 0);
    sleepers_.fetch_sub(1);
  }

 private:
  threads::Threads& threads_;
  threads::Word rung_ = 0;
  std::atomic<uint32_t> sleepers_ = 0;
};

}  // namespace drover::migrators
