// mremap inside a window: the pages follow the mapping, and so does the end of the registration.
#include <atomic>
#include <chrono>
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

// Without named ranges the walk would meet the pages a second time, at their new address.
Job OnlyRange(Job job, Range range) {
  job.range_count = 1;
  job.ranges[0] = range;
  return job;
}

TEST_F(Flow, RemapInTheWindowIsFollowed) {
  const Range range = world_.MapFilled(16);
  uint64_t target = 0;
  world_.InWindow([&] { world_.app.StartRemap(range, &target); });
  const JobResult& result = world_.Run(OnlyRange(world_.ToSame(), range));
  EXPECT_EQ(result.pages_moved, 16u);
  world_.ExpectMoved(range, target);
}

// Its event is read only when the window has closed and the live range is already unregistered: the
// fault thread is held back until the engine has come that far, or for a moment at most.
TEST_F(Flow, RemapAfterTheWindowIsUnregisteredToo) {
  const Range range = world_.MapFilled(16);
  uint64_t target = 0;
  std::atomic<bool> remapped = false, area_unregistered = false;
  const uint64_t unregisters = world_.model.Calls(Call::kUnregister);
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kUnregister && nth == unregisters + 1) {
      remapped = true;
      world_.app.StartRemap(range, &target);
    }
    if (call == Call::kUnregister && nth == unregisters + 2) area_unregistered = true;
    for (int i = 0; call == Call::kReadMessage && remapped && !area_unregistered && i < 200; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  world_.Run(OnlyRange(world_.ToSame(), range));
  world_.ExpectMoved(range, target);
}

// More pieces than the engine keeps a list of: the end of the registration finds them all the same.
TEST_F(Flow, ManyRemapsInTheWindowAreAllUnregistered) {
  constexpr uint64_t kPages = kFollowedRangesMax + 6;
  const Range range = world_.MapFilled(kPages);
  uint64_t targets[kPages] = {};
  world_.InWindow([&] {
    for (uint64_t i = 0; i < kPages; ++i)
      world_.app.StartRemap({range.start + i * kPageBytes, kPageBytes}, &targets[i]);
  });
  const JobResult& result = world_.Run(OnlyRange(world_.ToSame(), range));
  EXPECT_EQ(result.pages_moved, kPages);
  for (uint64_t i = 0; i < kPages; ++i)
    world_.ExpectMoved({range.start + i * kPageBytes, kPageBytes}, targets[i]);
}

// libc's realloc grows mappings by an mremap that no hook reaches. What grows out of a registered
// range is registered, too, and the kernel does not tell.
TEST_F(Flow, WhatGrowsOutOfTheRangeIsUnregistered) {
  const Range range = world_.MapFilled(16);
  world_.InWindow([&] { world_.app.Grow(range, 16 * kPageBytes); });
  EXPECT_EQ(world_.Run(OnlyRange(world_.ToSame(), range)).pages_moved, 16u);
}

TEST_F(Flow, WhatGrowsWhileItIsRemappedIsUnregistered) {
  const Range range = world_.MapFilled(16);
  uint64_t target = 0;
  world_.InWindow([&] { world_.app.StartRemap(range, &target, 16 * kPageBytes); });
  EXPECT_EQ(world_.Run(OnlyRange(world_.ToSame(), range)).pages_moved, 16u);
  world_.ExpectMoved(range, target);
}

TEST_F(Flow, UnmapInTheWindowDropsThePages) {
  const Range range = world_.MapFilled(16);
  const Range gone{range.start + 4 * kPageBytes, 4 * kPageBytes};
  world_.InWindow([&] { world_.app.StartUnmap(gone); });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 12u);
  EXPECT_EQ(world_.recorder.Count(gone, Outcome::kGone), 4u);
  world_.ExpectNothing(gone);
}

}  // namespace
}  // namespace drover::flow
