// When a copy engine has let go of a batch, and its list may go.
#pragma once

#include <chrono>
#include <thread>

#include "migrators/migrator.h"
#include "migrators/spin.h"

namespace drover::library {

// Behind Poll's answer. False: it still holds addresses when `patience` is over. On the mover
// thread.
[[nodiscard]] inline bool AwaitRelease(migrators::Migrator& migrator,
                                       std::chrono::milliseconds patience) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + patience;
  for (int spins = 0; migrator.HoldsAddresses(); ++spins) {
    if (Clock::now() > end) return false;
    if (spins < migrators::kSpinsBeforeSleep)
      migrators::Pause();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return true;
}

}  // namespace drover::library
