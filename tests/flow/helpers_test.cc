// Helpers of `threads:N` that lose their CPU in the middle of a chunk.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "flow/table.h"
#include "flow/world.h"
#include "threads/sanitizer.h"

// To the thread sanitizer two copies of the same bytes into one place are a race; there the caller
// waits for its helpers (migrators/threads.cc).
#if DROVER_THREAD_SANITIZER == 0

namespace drover::flow {
namespace {

using namespace std::chrono_literals;

// The helper stays in its first copy until it is let go; the mover begins when it is in there.
std::atomic<int> mover = 0, patience_ms = 0;
std::atomic<bool> mover_is_in = false, helper_is_in = false, let_go = false;
std::function<bool(uint64_t)> in_place;
std::atomic<int> out_of_place = 0;  // copies of the helper elsewhere than there

void CopyAsSlowHelper(uint64_t target, uint64_t source, uint64_t length_bytes) {
  if (gettid() == mover) {
    mover_is_in = true;
    for (int i = 0; i < patience_ms && !helper_is_in; ++i) std::this_thread::sleep_for(1ms);
    helper_is_in = true;  // it had its time
  } else {
    if (in_place && !in_place(target)) ++out_of_place;
    helper_is_in = true;
    while (!let_go) std::this_thread::sleep_for(1ms);
  }
  std::memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), length_bytes);
}

class SlowHelper : public Flow {
 protected:
  SlowHelper() {
    mover = gettid();
    patience_ms = 30'000;  // (it runs on idle CPUs alone)
    mover_is_in = helper_is_in = let_go = false;
    in_place = nullptr;
    out_of_place = 0;
    world_.engine->copy = CopyAsSlowHelper;
  }
  bool HoldsAddresses() { return EnginesHoldAddresses(*world_.engine); }
  // In the areas for batches while the others may still be touched.
  bool IsSecond(uint64_t address) const {
    const Areas& areas = world_.engine->areas[1];
    return Range{areas.area_small, kAreaBytes}.Contains(address) ||
           Range{areas.pool_small, kAreaBytes}.Contains(address);
  }
};

TEST_F(SlowHelper, HoldsTheAddressesOfItsBatchAndNothingElse) {
  const Range range = world_.MapFilled(4 * kPagesPerHuge);
  const auto before = world_.Frames(range);
  int batches = 0;
  world_.recorder.ask = [&](const JobResult&) {
    // Two batches later it goes on, and writes what was once there to where it once belonged.
    if (++batches == 3) {
      let_go = true;
      for (int i = 0; i < 5000 && HoldsAddresses(); ++i) std::this_thread::sleep_for(1ms);
      EXPECT_FALSE(HoldsAddresses());
    }
    EXPECT_EQ(HoldsAddresses(), batches == 2) << batches;
    // From here on it works, and may lose its CPU as any other: no more is counted.
    return batches == 3 ? Next::kStop : Next::kGoOn;
  };
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.pages_moved, 2 * kPagesPerHuge);
  EXPECT_EQ(result.late_chunks, 1u);
  EXPECT_EQ(result.copy_threads, 2u);
  world_.recorder.ask = nullptr;
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, 4 * kPagesPerHuge);
  EXPECT_TRUE(world_.Relocated(range, before));
  EXPECT_EQ(world_.model.helpers(), 2u) << "one a job";
  EXPECT_EQ(world_.model.helpers_held(), 0u) << "one may be kept from its end";
  EXPECT_EQ(world_.model.kept_off(), 0u) << "the mover keeps off a CPU behind its job";
}

// A thread may take its time to start.
TEST_F(SlowHelper, ThatBeginsInTheMiddleOfTheFirstBatchHelpsWithIt) {
  world_.MapFilled(kPagesPerHuge);
  let_go = true;
  world_.model.SetBeforeHelper([] {
    for (int i = 0; i < 5000 && !mover_is_in; ++i) std::this_thread::sleep_for(1ms);
  });
  in_place = [](uint64_t) { return false; };  // counts its copies
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, kPagesPerHuge);
  EXPECT_GT(out_of_place, 0);
}

// The second areas are never given to helpers: here one lets go of the first ones while a batch is
// in the second.
TEST_F(SlowHelper, ThatLetsGoInTheMiddleOfABatchDoesNotGetThatBatch) {
  world_.MapFilled(4 * kPagesPerHuge);
  const uint64_t barriers = world_.model.Calls(Call::kProtect);
  world_.model.SetHook([&, barriers](Call call, uint64_t nth) {
    if (call != Call::kProtect || nth != barriers + 2) return;
    EXPECT_TRUE(HoldsAddresses());
    EXPECT_TRUE(IsSecond(world_.engine->batch.pool));
    let_go = true;
    for (int i = 0; i < 5000 && HoldsAddresses(); ++i) std::this_thread::sleep_for(1ms);
    helper_is_in = false;  // the mover waits for the helper to come in again, if it may
    patience_ms = 300;
  });
  int batches = 0;
  world_.recorder.ask = [&](const JobResult&) {
    if (++batches == 3) helper_is_in = true;
    return Next::kGoOn;
  };
  in_place = [this](uint64_t address) { return !IsSecond(address); };
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, 4 * kPagesPerHuge);
  EXPECT_EQ(out_of_place, 0) << "a helper has copied in the second areas";
}

// The targets of that batch were originals before, and are nobody's while it may write to them.
TEST_F(SlowHelper, KeepsWhatItHoldsFromBeingUsedAgain) {
  world_.MapFilled(4 * kPagesPerHuge);
  let_go = true;
  bool looked = false;
  int batches = 0;
  world_.model.SetHook([&](Call call, uint64_t) {
    // (A batch may have two windows.)
    if (call != Call::kProtect || batches < 3 || looked) return;
    looked = true;
    EXPECT_TRUE(HoldsAddresses());
    EXPECT_TRUE(IsSecond(world_.engine->batch.pool));
    let_go = true;
  });
  world_.recorder.ask = [&](const JobResult&) {
    if (++batches != 2) return Next::kGoOn;
    // (On a busy machine it may still be in the first one, and would not get the second.)
    for (int i = 0; i < 30'000 && HoldsAddresses(); ++i) std::this_thread::sleep_for(1ms);
    let_go = helper_is_in = false;
    return Next::kGoOn;
  };
  Job job = world_.WithHelper();
  job.reuse = true;
  EXPECT_EQ(world_.Run(job).pages_moved, 4 * kPagesPerHuge);
  EXPECT_TRUE(looked);
}

// The job's end waits for it, because its stack and its code go then.
TEST_F(SlowHelper, ThatIsStillInAtTheEndOfTheJob) {
  const Range range = world_.MapFilled(2 * kPagesPerHuge);
  const auto before = world_.Frames(range);
  std::thread later([] {
    for (int i = 0; i < 5000 && !helper_is_in; ++i) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(200ms);
    let_go = true;
  });
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, 2 * kPagesPerHuge);
  later.join();
  EXPECT_TRUE(let_go);
  EXPECT_TRUE(world_.Relocated(range, before));
}

TEST_F(SlowHelper, TheMoverLeavesItsCpuToIt) {
  world_.MapFilled(kPagesPerHuge);
  let_go = true;
  Job job = world_.WithHelper();
  job.helper_cpus[0] = 1;
  uint64_t kept_off = 0;
  world_.InWindow([&] { kept_off = world_.model.kept_off(); });
  world_.Run(job);
  EXPECT_EQ(kept_off, 1u);
}

}  // namespace
}  // namespace drover::flow

#endif
