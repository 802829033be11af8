// How long a job waits so that it takes no more than it may.
#include "flow/throttle.h"

#include <gtest/gtest.h>

#include "flow/job.h"

namespace drover::flow {
namespace {

constexpr uint64_t kMs = 1'000'000, kS = 1'000 * kMs;

Job WithRate(uint64_t bytes_per_s) {
  Job job;
  job.rate_bytes_per_s = bytes_per_s;
  return job;
}

TEST(Throttle, WaitsForNothingWithoutABound) {
  Throttle throttle;
  throttle.Begin(Job(), {});
  EXPECT_EQ(throttle.WaitNs({.now_ns = 1, .cpu_ns = kS, .pages = 1'000'000}), 0u);
}

// A batch every millisecond of the engine's own time, and what it is told to wait.
TEST(Throttle, KeepsTheRate) {
  Throttle throttle;
  constexpr uint64_t kRate = 100 << 20;
  throttle.Begin(WithRate(kRate), {});
  Throttle::Used used;
  while (used.now_ns < 10 * kS) {
    used.now_ns += kMs, used.pages += 512;
    used.now_ns += throttle.WaitNs(used);
  }
  const double rate = static_cast<double>(used.pages * kPageBytes) /
                      (static_cast<double>(used.now_ns) / static_cast<double>(kS));
  EXPECT_NEAR(rate, kRate, 0.01 * kRate);
}

TEST(Throttle, KeepsTheShareOfACpu) {
  Throttle throttle;
  Job job;
  job.cpu_percent = 25;
  throttle.Begin(job, {});
  Throttle::Used used;
  while (used.now_ns < 10 * kS) {
    used.now_ns += kMs, used.cpu_ns += kMs, used.pages += 512;
    used.now_ns += throttle.WaitNs(used);
  }
  EXPECT_NEAR(static_cast<double>(used.cpu_ns) / static_cast<double>(used.now_ns), 0.25, 0.005);
}

// After it stood still for a minute it goes on at its rate, but for a moment.
TEST(Throttle, DoesNotMakeUpForAPauseByABurst) {
  Throttle throttle;
  throttle.Begin(WithRate(100 << 20), {});
  Throttle::Used used{.now_ns = 60 * kS};
  EXPECT_EQ(throttle.WaitNs(used), 0u);
  used.now_ns += kMs, used.pages += 100 * 256;  // what one second may bring
  EXPECT_GT(throttle.WaitNs(used), 900 * kMs);
}

// 64 KiB a second, and a terabyte: nothing overflows.
TEST(Throttle, TakesTheEndsOfItsRange) {
  Throttle slow, fast;
  slow.Begin(WithRate(kRateLeast), {});
  EXPECT_EQ(slow.WaitNs({.now_ns = 0, .cpu_ns = 0, .pages = 16}), kS);
  fast.Begin(WithRate(kRateMost), {});
  EXPECT_NEAR(static_cast<double>(fast.WaitNs({.now_ns = 0, .cpu_ns = 0, .pages = 1u << 28})),
              static_cast<double>(kS), static_cast<double>(kMs));
}

}  // namespace
}  // namespace drover::flow
