// Doing something between two batches of a running job, from another thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace drover::library {

// It stands where nothing is moved. Any thread, but for what is said to be the mover's.
class Boundary {
 public:
  // Does it now where no job runs, else lets the mover do it; returns when it is done.
  void Do(const std::function<void()>& what);

  // Around a job; `first` is done before anybody else's.
  void BeginJob(const std::function<void()>& first);
  void EndJob();
  // The mover, between two batches.
  void Pass();

 private:
  void DoWaiting();  // under the mutex

  std::mutex mutex_;
  std::condition_variable done_;
  bool running_ = false;
  std::atomic<bool> waits_ = false;
  const std::function<void()>* waiting_ = nullptr;
};

}  // namespace drover::library
