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

// What a helper of a copy engine does between two batches.
class Errands {
 public:
  enum class Found : uint8_t { kOne, kNothing, kNothingNow };

  // A small part of it, for a copy that begins meanwhile waits. kNothingNow: it is not to be waited
  // for on a CPU. On one helper.
  virtual Found DoOne() = 0;

  // Whom to wake where there is something again; nullptr: nobody.
  void UseBell(Bell* bell) { bell_ = bell; }

 protected:
  ~Errands() = default;
  void Ring() {
    if (bell_ != nullptr) bell_->Ring();
  }

 private:
  Bell* bell_ = nullptr;
};

}  // namespace drover::migrators
