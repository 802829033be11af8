// Where a running move answers other shells: how it stands, and that it shall pause, go on or stop.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "control/steering.h"
#include "jobs/status.h"

namespace drover::jobs {

// Answers on a thread of its own, to the same user and root. One for the process. What it is told
// it keeps in `steering`, which must outlast it.
class Desk {
 public:
  Desk(control::Steering& steering, bool detached);
  ~Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  // False: other shells will not find this job, for want of descriptors or threads.
  bool is_open() const { return door_ >= 0; }

  // From any thread. `change` gets the status to write into; job, user, state, time and exit code
  // are the desk's own.
  template <class Change>
  void Update(const Change& change) {
    const std::lock_guard lock(mutex_);
    change(status_);
  }

  // The move has ended. Keeps its report until somebody has fetched it, or the time is over.
  void KeepReport(const Report& report, std::chrono::seconds patience);

 private:
  void Serve(const std::stop_token& stop);
  void Hear(int socket, const std::stop_token& stop);
  Status Now();
  void AwaitStand(const std::stop_token& stop);

  control::Steering& steering_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  int door_ = -1, wake_ = -1;
  std::mutex mutex_;  // of what follows
  std::condition_variable taken_;
  Status status_;
  Report report_;
  bool ended_ = false, fetched_ = false;
  double seconds_ = 0;  // that it took
  std::jthread thread_;
};

}  // namespace drover::jobs
