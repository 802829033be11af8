#include "library/boundary.h"

namespace drover::library {

void Boundary::Do(const std::function<void()>& what) {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return waiting_ == nullptr; });  // another one's turn
  if (!running_) {
    what();
    return;
  }
  waiting_ = &what;
  waits_.store(true, std::memory_order_release);
  done_.wait(lock, [&] { return waiting_ != &what; });
}

void Boundary::BeginJob(const std::function<void()>& first) {
  const std::lock_guard lock(mutex_);
  first();
  running_ = true;
}

void Boundary::EndJob() {
  const std::lock_guard lock(mutex_);
  running_ = false;
  DoWaiting();
}

void Boundary::Pass() {
  if (!waits_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  DoWaiting();
}

void Boundary::DoWaiting() {
  if (waiting_ == nullptr) return;
  (*waiting_)();
  waiting_ = nullptr;
  waits_.store(false, std::memory_order_relaxed);
  done_.notify_all();
}

}  // namespace drover::library
