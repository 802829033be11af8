// Targets that are made as they are copied to: what can go wrong in the window then.
#include <chrono>
#include <mutex>
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

class Filled : public Flow {
 protected:
  Job Filling(Job job) {
    job.copy_through = CopyThrough::kFill;
    return job;
  }
  Job Filling() { return Filling(world_.ToSame()); }
};

TEST_F(Filled, PagesAreOthersOfTheSameContent) {
  const Range range = world_.MapFilled(700);  // more than one batch
  const auto before = world_.Frames(range);
  const uint64_t populates = world_.model.Calls(Call::kAdvise);
  const JobResult& result = world_.Run(Filling());
  EXPECT_EQ(result.copied_through, CopyThrough::kFill);
  EXPECT_EQ(result.pages_moved, 700u);
  EXPECT_TRUE(world_.Relocated(range, before));
  EXPECT_GT(world_.model.Calls(Call::kFill), 0u);
  EXPECT_GT(world_.model.Calls(Call::kAdvise), populates) << "originals are freed";
}

TEST_F(Filled, OnAnotherNode) {
  const Range range = world_.MapFilled(600);
  EXPECT_EQ(world_.Run(Filling(world_.ToNode(1))).moved_own_path, 600u);
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    EXPECT_EQ(world_.NodeOf(page), 1);
}

// The node is full by the time that the targets are made, and the kernel takes another one.
TEST_F(Filled, WhatHasComeToAnotherNodeIsNotKept) {
  const Range range = world_.MapFilled(16);
  const auto before = world_.Frames(range);
  world_.InWindow([&] { world_.model.SetFreePages({1}, 0); });
  Job job = Filling(world_.ToNode(1));
  job.kernel_path = false;
  EXPECT_EQ(world_.Run(job).pages_moved, 0u);
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), 16u);
  EXPECT_EQ(world_.Frames(range), before);
  world_.model.SetFreePages({1}, 1000);
}

TEST_F(Filled, HugePagesAreAsBefore) {
  const Range huge = world_.MapFilledHuge(2);
  const JobResult& result = world_.Run(Filling());
  EXPECT_EQ(result.pages_moved, 2 * kPagesPerHuge);
  EXPECT_TRUE(world_.WholeHuge(huge.start));
  EXPECT_EQ(world_.model.Calls(Call::kFill), 0u);
}

TEST_F(Filled, ByHelpersToo) {
  const Range range = world_.MapFilled(1500);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(Filling(world_.WithHelper()));
  EXPECT_EQ(result.pages_moved, 1500u);
  EXPECT_TRUE(world_.Relocated(range, before));
}

// What was made for a page that is thrown away meanwhile is freed, although such a batch's
// originals are another CPU's to free.
TEST_F(Filled, ByHelpersLeavesNothingInThePool) {
  const Range range = world_.MapFilled(4 * kPagesPerHuge);
  const Range discarded{range.start + 12 * kPageBytes, 3 * kPageBytes};
  const uint64_t free_before = world_.model.FreePages(Node{0});
  bool begun = false;
  std::mutex mutex;  // both copy
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call != Call::kFill) return;
    const std::lock_guard guard(mutex);
    if (!begun) world_.app.StartDiscard(discarded);
    begun = true;
  });
  world_.ExpectZeros(discarded);
  uint64_t kept = 0;
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.batches != 1) return Next::kGoOn;
    const auto left = [&] { return free_before + 3 - world_.model.FreePages(Node{0}); };
    for (int i = 0; i < 5000 && left() != 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kept = left();
    return Next::kGoOn;
  };
  Job job = Filling(world_.WithHelper());
  job.engines[0].always = true;
  EXPECT_EQ(world_.Run(job).pages_moved, 4 * kPagesPerHuge - 3);
  EXPECT_TRUE(begun);
  EXPECT_EQ(kept, 0u) << "pages of the pool";
  world_.recorder.ask = nullptr;
}

// A page that cannot be made keeps its original.
TEST_F(Filled, WithoutMemoryTheOriginalsGoBack) {
  const Range range = world_.MapFilled(16);
  const auto before = world_.Frames(range);
  world_.InWindow([&] { world_.model.SetFreePages({0}, 0); });
  const JobResult& result = world_.Run(Filling());
  EXPECT_EQ(result.pages_moved, 0u);
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), 16u);
  EXPECT_EQ(world_.Frames(range), before) << "none is another page";
  world_.model.SetFreePages({0}, 1000);
}

// The program throws pages away while they are copied: the change comes first, and nothing comes
// back.
TEST_F(Filled, ADiscardMeanwhileIsHeard) {
  const Range range = world_.MapFilled(64);
  const Range discarded{range.start + 12 * kPageBytes, 3 * kPageBytes};
  bool begun = false;
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call != Call::kFill || begun) return;
    begun = true;
    world_.app.StartDiscard(discarded);
  });
  world_.ExpectZeros(discarded);
  const JobResult& result = world_.Run(Filling());
  EXPECT_TRUE(begun);
  EXPECT_EQ(result.pages_moved, 61u);
  EXPECT_EQ(result.pages_gone, 3u);
}

// Putting back frees the target first, and the pool is registered: the fault thread has to hear.
TEST_F(Filled, MprotectInTheWindow) {
  const Range range = world_.MapFilled(16);
  world_.InWindow([&] { world_.app.Protect({range.start, 8 * kPageBytes}, true, false, false); });
  const JobResult& result = world_.Run(Filling());
  EXPECT_EQ(result.pages_moved, 8u);
  EXPECT_EQ(result.ladder_copies, 8u);
}

TEST_F(Filled, VerifiedPagesAreCompared) {
  World world(World::RoomForRings());
  world.MapFilled(64);
  Job job = Filling(world.ToSame());
  job.verify = true;
  const JobResult& result = world.Run(job);
  EXPECT_EQ(result.pages_moved, 64u);
  EXPECT_EQ(result.pages_compared, 64u);
  EXPECT_EQ(result.copied_again, 0u);
  world.CheckAll();
}

// Where the kernel does not say that no filter is in force nothing is tried.
TEST_F(Filled, AnUnknownKernelCopiesPlainly) {
  world_.MapFilled(16);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.copied_through, CopyThrough::kProgram);
  EXPECT_EQ(world_.model.Calls(Call::kFill), 0u);
}

}  // namespace
}  // namespace drover::flow
