// Pages that are copied ahead of their window, while the program goes on.
#include <atomic>

#include "flow/world.h"

namespace drover::flow {
namespace {

class Ahead : public Flow {
 protected:
  Job ToSame() {
    Job job = world_.ToSame();
    job.precopy = Precopy::kAlways;
    return job;
  }
};

TEST_F(Ahead, EveryPageIsCopiedBeforeTheWindowAndComparedInIt) {
  const Range range = world_.MapFilled(600);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_moved, 600u);
  EXPECT_EQ(result.pages_precopied, 600u);
  EXPECT_EQ(result.pages_changed, 0u);
  EXPECT_EQ(result.pages_by_cpu, 600u);
  EXPECT_TRUE(world_.Relocated(range, before));
}

TEST_F(Ahead, WithoutItNothingIs) {
  world_.MapFilled(16);
  Job job = world_.ToSame();
  job.precopy = Precopy::kNever;
  EXPECT_EQ(world_.Run(job).pages_precopied, 0u);
}

// The first thing behind the copy is the registration.
TEST_F(Ahead, WhatTheProgramWritesMeanwhileIsCopiedAgain) {
  const Range range = world_.MapFilled(64);
  world_.Before(Call::kRegister, 1, [&] {
    world_.Fill({range.start + 5 * kPageBytes, kPageBytes});
    world_.Fill({range.start + 40 * kPageBytes, 2 * kPageBytes});
  });
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_moved, 64u);
  EXPECT_EQ(result.pages_changed, 3u);
}

// The last byte that can be written before the page is away.
TEST_F(Ahead, WhatTheProgramWritesJustBeforeTheMoveOutIsCopiedAgain) {
  const Range range = world_.MapFilledHuge(1);
  world_.BeforeMove(1, [&] { world_.Fill({range.end() - kPageBytes, kPageBytes}); });
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.moved_huge, kPagesPerHuge);
  EXPECT_EQ(result.pages_precopied, kPagesPerHuge);
  EXPECT_EQ(result.pages_changed, 1u);
  EXPECT_TRUE(world_.WholeHuge(range.start));
}

// A write from outside that has begun before the copy, and ends in the window.
TEST_F(Ahead, AWriteFromOutsideThatEndsInTheWindowIsCopiedAgain) {
  const Range range = world_.MapFilled(16);
  const uint64_t word = range.start + 5 * kPageBytes;
  const uint64_t before = *world_.app.ReadWord(word);
  const auto other = static_cast<std::byte>(~before & 0xff);
  world_.BeforeMove(1, [&] { world_.app.StartForeignWrite(word, other, true); });
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_changed, 1u);
  EXPECT_EQ(*world_.app.ReadWord(word), (before & ~uint64_t{0xff}) | static_cast<uint64_t>(other));
  world_.Fill({RoundDown(word, kPageBytes), kPageBytes});
}

TEST_F(Ahead, WhatIsThrownAwayMeanwhileStaysAway) {
  const Range range = world_.MapFilled(16);
  const Range thrown{range.start + 4 * kPageBytes, 2 * kPageBytes};
  world_.Before(Call::kRegister, 1, [&] { world_.app.StartDiscard(thrown); });
  world_.ExpectZeros(thrown);
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(world_.recorder.Count(thrown, Outcome::kGone), 2u);
  EXPECT_EQ(result.pages_precopied, 14u);
}

// One page is unmapped while the batch is read: the others are read all the same.
TEST_F(Ahead, WhatCannotBeReadDoesNotKeepOthersFromIt) {
  const Range range = world_.MapFilled(16);
  const Range gone{range.start + 4 * kPageBytes, kPageBytes};
  world_.Before(Call::kReadMemory, 1, [&] { world_.app.StartUnmap(gone); });
  world_.ExpectNothing(gone);
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_moved, 15u);
  EXPECT_EQ(result.pages_changed, 0u);
}

// None at all: then by a copy, and by the copy engines.
TEST_F(Ahead, WhatCannotBeReadAtAllIsCopiedInTheWindow) {
  world_.MapFilled(16);
  world_.model.RefuseReads(true);
  Job job = ToSame();
  job.engines[0] = {.kind = migrators::Kind::kChannels, .count = 1};
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(result.pages_precopied, 0u);
  EXPECT_EQ(result.engines[static_cast<uint32_t>(migrators::Kind::kChannels)].batches, 1u);
}

// A program that writes to all of it, all the time: it is looked at more often before the window,
// and moved all the same, because no budget asks otherwise.
TEST_F(Ahead, AProgramThatWritesAllTheTimeIsLookedAtMoreOften) {
  const Range range = world_.MapFilled(2 * kPagesPerHuge);
  const uint64_t reads = world_.model.Calls(Call::kReadMemory);
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call == Call::kReadMemory) world_.Fill(range);
    if (call == Call::kRegister && world_.model.Calls(Call::kMove) == 0) world_.Fill(range);
  });
  Job job = ToSame();
  job.batch_bytes = 64 << 10;
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_moved, 2 * kPagesPerHuge);
  const uint64_t batches = 2 * kPagesPerHuge / 16;
  EXPECT_GT(world_.model.Calls(Call::kReadMemory) - reads, 2 * batches);
}

TEST_F(Ahead, WithVerifyEachCopyIsComparedOnceMore) {
  World world(World::RoomForRings());
  const Range range = world.MapFilled(600);
  world.Before(Call::kRegister, 1, [&] { world.Fill({range.start + 5 * kPageBytes, kPageBytes}); });
  Job job = world.ToSame();
  job.precopy = Precopy::kAlways;
  job.verify = true;
  const JobResult& result = world.Run(job);
  EXPECT_EQ(result.pages_moved, 600u);
  EXPECT_EQ(result.pages_precopied, 600u);
  EXPECT_EQ(result.pages_compared, 600u);
  EXPECT_EQ(result.copied_again, 0u);
  world.CheckAll();
}

// A clock by which the copy of a huge page is far beyond the budget, and a comparison within it.
class AheadOfABudget : public Ahead {
 protected:
  AheadOfABudget() {
    world_.model.SetClock([this] { return now_ns_ += step_ns_; });
    // (By this clock the windows may be too long; the second such one ends the matter.)
    huge_ = world_.MapFilledHuge(2);
    world_.model.SetHook([this](Call call, uint64_t) {
      // (Looks at the clock are no calls: what is timed behind a read is the comparison.)
      const bool fast = call == Call::kReadMemory || call == Call::kMove;
      step_ns_ = fast ? 10'000 : 300'000;
      const bool ahead = call == Call::kReadMemory || call == Call::kRegister;
      if (ahead && is_hot_) world_.Fill(huge_);
    });
  }
  Job ToNode() {
    Job job = world_.ToNode(1);
    job.max_stall_ns = 100'000;
    job.range_count = 1;
    job.ranges[0] = huge_;
    return job;
  }

  std::atomic<uint64_t> now_ns_ = 1'000'000, step_ns_ = 300'000;
  bool is_hot_ = false;
  Range huge_;
};

TEST_F(AheadOfABudget, HugePagesThatOnlySoFitAreCopiedAhead) {
  const JobResult& result = world_.Run(ToNode());
  EXPECT_EQ(result.pages_precopied, huge_.length / kPageBytes);
  EXPECT_EQ(result.moved_own_path, huge_.length / kPageBytes);
}

TEST_F(AheadOfABudget, NotWhereThatIsNotWanted) {
  Job job = ToNode();
  job.precopy = Precopy::kNever;
  EXPECT_EQ(world_.Run(job).pages_precopied, 0u);
  EXPECT_EQ(world_.recorder.Count(huge_, Why::kOverBudget), huge_.length / kPageBytes);
}

// The kernel would copy them whole: they stay.
TEST_F(AheadOfABudget, ByTheKernelsPathTheyDoNotFit) {
  Job job = ToNode();
  job.own_path = false;
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.moved_kernel_path, 0u);
  EXPECT_EQ(world_.recorder.Count(huge_, Why::kOverBudget), huge_.length / kPageBytes);
  EXPECT_GT(result.smallest_budget_ns, 300'000u);
}

// What changes faster than it can be looked at stays, too, behind the first one, which shows it.
TEST_F(AheadOfABudget, WhatChangesAllTheTimeIsLeft) {
  is_hot_ = true;
  const JobResult& result = world_.Run(ToNode());
  is_hot_ = false;
  EXPECT_EQ(result.moved_kernel_path, 0u);
  EXPECT_LE(result.moved_own_path, kPagesPerHuge);
  EXPECT_GE(world_.recorder.Count(huge_, Why::kOverBudget), kPagesPerHuge);
  EXPECT_GT(result.smallest_budget_ns, 300'000u);
}

TEST_F(Ahead, CopyEnginesArePassedBy) {
  world_.MapFilled(64);
  Job job = ToSame();
  job.engines[0] = {.kind = migrators::Kind::kChannels, .count = 2};
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_precopied, 64u);
  EXPECT_EQ(result.engines[static_cast<uint32_t>(migrators::Kind::kChannels)].batches, 0u);
}

}  // namespace
}  // namespace drover::flow
