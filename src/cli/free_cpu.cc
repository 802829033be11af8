#include "cli/free_cpu.h"

#include <algorithm>

namespace drover::cli {
namespace {

// An interrupt takes less.
constexpr double kGapUs = 50;

}  // namespace

LostCpu WatchCpu(std::chrono::milliseconds time) {
  using Clock = std::chrono::steady_clock;
  LostCpu lost;
  const auto end = Clock::now() + time;
  for (auto last = Clock::now(); last < end;) {
    const auto now = Clock::now();
    const double gap_us = std::chrono::duration<double, std::micro>(now - last).count();
    last = now;
    if (gap_us < kGapUs) continue;
    ++lost.times;
    lost.longest_us = std::max(lost.longest_us, gap_us);
  }
  return lost;
}

}  // namespace drover::cli
