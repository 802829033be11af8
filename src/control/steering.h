// What a caller wants of a move that is under way.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

namespace drover::control {

// Any thread may set `cancel` and `paused`, a signal handler too. Both take effect at the next
// batch boundary.
struct Steering {
  std::atomic<bool> cancel = false;  // for good
  std::atomic<bool> paused = false;
  // Set by whoever moves: it has come to a boundary and stands there.
  std::atomic<bool> stands = false;
};

// At a batch boundary, on the thread that moves.
inline void StandWhilePaused(Steering& steering) {
  while (steering.paused.load() && !steering.cancel.load()) {
    steering.stands.store(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  steering.stands.store(false);
}

}  // namespace drover::control
