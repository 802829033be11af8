// Whether a thread that runs here keeps its CPU.
#pragma once

#include <chrono>
#include <cstdint>

namespace drover::cli {

struct LostCpu {
  uint64_t times = 0;
  double longest_us = 0;
};

// Runs for so long, and notes when it did not: because of another thread, or of the host.
LostCpu WatchCpu(std::chrono::milliseconds time);

}  // namespace drover::cli
