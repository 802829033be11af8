// How a thread waits for what comes soon.
#pragma once

namespace drover::migrators {

// Pauses before a helper goes to sleep: some tens of microseconds, so that it is awake when batch
// follows batch.
inline constexpr int kSpinsBeforeSleep = 2000;

inline void Pause() {
  asm volatile("pause");
}

}  // namespace drover::migrators
