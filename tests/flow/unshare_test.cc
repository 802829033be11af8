// --unshare: pages that are shared after a fork get copies of their own.
#include "flow/world.h"

namespace drover::flow {
namespace {

Job Unsharing(Job job) {
  job.unshare = true;
  return job;
}

TEST_F(Flow, SharedPagesGetCopiesWhereThatIsAskedFor) {
  const Range range = world_.MapFilled(32);
  const Range shared{range.start + 8 * kPageBytes, 16 * kPageBytes};
  const auto value = world_.app.ReadWord(shared.start);
  const uint64_t child = world_.app.Share(shared);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(Unsharing(world_.ToSame()));
  EXPECT_EQ(result.pages_moved, 32u);
  EXPECT_EQ(result.pages_unshared, 16u);
  EXPECT_TRUE(world_.Relocated(range, before));
  EXPECT_EQ(world_.app.ChildReadWord(child, shared.start), value);
  world_.app.EndChild(child);
}

// The copy comes where the kernel puts it; from there it is moved as any other page.
TEST_F(Flow, UnsharedPagesComeToTheirTarget) {
  const Range range = world_.MapFilled(16);
  const uint64_t child = world_.app.Share(range);
  EXPECT_EQ(world_.Run(Unsharing(world_.ToNode(1))).pages_moved, 16u);
  EXPECT_EQ(world_.result.moved_own_path, 16u);
  for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(world_.NodeOf(range.start + i * kPageBytes), 1);
  world_.app.EndChild(child);
}

TEST_F(Flow, SharedHugePagesAreUnshared) {
  const Range range = world_.MapFilledHuge(2);
  const uint64_t child = world_.app.Share({range.start, kHugeBytes});
  EXPECT_EQ(world_.Run(Unsharing(world_.ToNode(1))).pages_moved, 2 * kPagesPerHuge);
  EXPECT_EQ(world_.result.pages_unshared, kPagesPerHuge);
  EXPECT_EQ(world_.result.moved_huge, kPagesPerHuge);
  EXPECT_TRUE(world_.WholeHuge(range.start + kHugeBytes)) << "that one was not shared";
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    ASSERT_EQ(world_.NodeOf(page), 1);
  world_.app.EndChild(child);
}

// Nothing is copied twice: a page whose child is gone is not shared.
TEST_F(Flow, PagesWhoseChildIsGoneAreNotCopied) {
  const Range range = world_.MapFilled(32);
  world_.app.EndChild(world_.app.Share(range));
  EXPECT_EQ(world_.Run(Unsharing(world_.ToSame())).pages_moved, 32u);
  EXPECT_EQ(world_.result.pages_unshared, 0u);
}

// A part is unmapped in between, so that the write fault fails for all; the others move all the
// same.
TEST_F(Flow, WhatCannotBeCopiedKeepsNobodyBack) {
  const Range range = world_.MapFilled(16);
  const Range gone{range.start, 4 * kPageBytes};
  const uint64_t child = world_.app.Share(range);
  bool looked = false, unmapped = false;
  world_.model.SetHook([&](Call call, uint64_t) {
    looked = looked || call == Call::kReadEntries;
    if (call != Call::kAdvise || !looked || unmapped) return;
    unmapped = true;
    world_.app.StartUnmap(gone);
  });
  Job job = Unsharing(world_.ToSame());
  world_.Run(job);
  world_.ExpectNothing(gone);
  EXPECT_EQ(world_.recorder.Count(gone, Outcome::kGone), 4u);
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), 0u);
  EXPECT_EQ(
      world_.recorder.Count(range, Outcome::kMoved) + world_.recorder.Count(range, Why::kShared),
      12u);
  world_.app.EndChild(child);
}

// What the copies take is memory like the pool's.
TEST_F(Flow, CopiesAreMadeOnlyWhileTwiceTheirSizeIsFree) {
  const Range range = world_.MapFilled(64);
  const uint64_t child = world_.app.Share(range);
  const auto frames = world_.Frames(range);
  const auto zones = [](uint64_t free_pages) {
    return "Node 0, zone   Normal\n  pages free     " + std::to_string(free_pages) +
           "\n        min      10\n        low      20\n";
  };
  world_.model.SetFile("/proc/zoneinfo", zones(20 + 2 * 64 - 1));
  world_.Run(Unsharing(world_.ToSame()));
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), 64u);
  EXPECT_EQ(world_.Frames(range), frames);
  EXPECT_EQ(world_.result.pages_unshared, 0u);
  world_.app.EndChild(child);
}

// The last one who shares it ends before the write fault: the page stays where it is then, and is
// moved as any other.
TEST_F(Flow, AChildThatEndsInBetweenLeavesNothingToCopy) {
  const Range range = world_.MapFilled(16);
  const auto before = world_.Frames(range);
  const uint64_t child = world_.app.Share(range);
  bool looked = false, ended = false;
  world_.model.SetHook([&](Call call, uint64_t) {
    looked = looked || call == Call::kReadEntries;
    if (call != Call::kAdvise || !looked || ended) return;
    ended = true;
    world_.app.EndChild(child);
  });
  EXPECT_EQ(world_.Run(Unsharing(world_.ToSame())).pages_moved, 16u);
  EXPECT_TRUE(world_.Relocated(range, before));
}

TEST_F(Flow, ThePlanSaysWhatWouldBeCopied) {
  const Range range = world_.MapFilled(32);
  const uint64_t child = world_.app.Share({range.start, 8 * kPageBytes});
  const auto frames = world_.Frames(range);
  Job plan = Unsharing(world_.ToSame());
  plan.plan_only = true;
  EXPECT_EQ(world_.Run(plan).pages_unshared, 8u);
  EXPECT_EQ(world_.result.pages_moved, 32u);
  EXPECT_EQ(world_.Frames(range), frames);
  world_.app.EndChild(child);
}

}  // namespace
}  // namespace drover::flow
