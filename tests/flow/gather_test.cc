// Job::page_size: small pages become huge ones: behind a move to another node, else in its place.
#include <atomic>
#include <chrono>
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

class Gather : public Flow {
 protected:
  // So many slots of small pages, which may become huge.
  Range MapSmall(uint64_t slots) {
    const Range range = world_.MapFilled(slots * kPagesPerHuge);
    return range;
  }
  Job Huge(PageSize size = PageSize::kHuge) const {
    Job job = world_.ToSame();
    job.page_size = size;
    return job;
  }
  uint64_t Small(WhySmall why) const {
    return world_.result.slots_small[static_cast<uint32_t>(why)];
  }
};

TEST_F(Gather, WholeSlotsOfSmallPagesBecomeHuge) {
  const Range range = MapSmall(3);
  const JobResult& result = world_.Run(Huge());
  EXPECT_EQ(result.pages_moved, 3 * kPagesPerHuge);
  EXPECT_EQ(result.pages_gathered, 3 * kPagesPerHuge);
  for (uint64_t slot = range.start; slot < range.end(); slot += kHugeBytes)
    EXPECT_TRUE(world_.WholeHuge(slot));
}

TEST_F(Gather, WhatBecomesHugeWhereItIsHasMovedByThat) {
  const Range range = MapSmall(3);
  const auto before = world_.Frames(range);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  const JobResult& result = world_.Run(Huge());
  EXPECT_EQ(result.moved_kernel_path, 3 * kPagesPerHuge);
  EXPECT_EQ(world_.model.Calls(Call::kMove), moves) << "copied twice";
  EXPECT_TRUE(world_.Relocated(range, before));
}

TEST_F(Gather, WhatStaysSmallWhereItIsMovesAllTheSame) {
  const Range range = MapSmall(3);
  world_.app.ForbidHuge({range.start + kHugeBytes, kHugeBytes});
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(Huge());
  EXPECT_EQ(result.pages_gathered, 2 * kPagesPerHuge);
  EXPECT_EQ(result.moved_own_path, kPagesPerHuge);
  EXPECT_EQ(result.pages_moved, 3 * kPagesPerHuge);
  EXPECT_TRUE(world_.Relocated(range, before));
}

// A piece of small pages reaches to the next multiple of the batch's length.
TEST_F(Gather, NoSlotIsPassedOverWhereBatchesAreLarge) {
  const Range range = MapSmall(8);
  Job job = Huge();
  job.batch_bytes = 4 * kHugeBytes;
  job.range_count = 1;
  job.ranges[0] = {range.start + 8 * kPageBytes, range.length - 8 * kPageBytes};
  EXPECT_EQ(world_.Run(job).pages_gathered, 7 * kPagesPerHuge);
  EXPECT_EQ(world_.result.pages_moved, 8 * kPagesPerHuge - 8);
}

TEST_F(Gather, NothingIsGatheredUnasked) {
  const Range range = MapSmall(1);
  EXPECT_EQ(world_.Run(Huge(PageSize::kKeep)).pages_gathered, 0u);
  EXPECT_FALSE(world_.WholeHuge(range.start));
}

TEST_F(Gather, OnTheNodeToWhichTheyHaveMoved) {
  const Range range = MapSmall(2);
  Job job = world_.ToNode(1);
  job.page_size = PageSize::kHuge;
  EXPECT_EQ(world_.Run(job).pages_gathered, 2 * kPagesPerHuge);
  EXPECT_TRUE(world_.WholeHuge(range.start));
  EXPECT_EQ(world_.NodeOf(range.start), 1);
}

TEST_F(Gather, ASlotWithAHoleStaysAsItIs) {
  const Range range = world_.Map(2 * kPagesPerHuge);
  world_.Fill({range.start, kHugeBytes + 4 * kPageBytes});
  EXPECT_EQ(world_.Run(Huge()).pages_gathered, kPagesPerHuge);
  EXPECT_EQ(Small(WhySmall::kHoles), 1u);
  EXPECT_FALSE(world_.Present(range.end() - kPageBytes)) << "memory that nobody asked for";
}

TEST_F(Gather, WhatTheRangeCutsIsLeftOut) {
  const Range range = MapSmall(2);
  Job job = Huge();
  job.range_count = 1;
  job.ranges[0] = {range.start + kPageBytes, range.length - kPageBytes};
  EXPECT_EQ(world_.Run(job).pages_gathered, kPagesPerHuge);
  EXPECT_FALSE(world_.WholeHuge(range.start));
}

TEST_F(Gather, WithoutAHugePageToBeHadItSaysSo) {
  const Range range = MapSmall(2);
  world_.model.SetHugePagesLeft(false);
  EXPECT_EQ(world_.Run(Huge()).pages_gathered, 0u);
  EXPECT_EQ(Small(WhySmall::kNoMemory), 2u);
  EXPECT_FALSE(world_.WholeHuge(range.start));
}

TEST_F(Gather, WhereTheProgramHasSwitchedThemOffItSaysSo) {
  const Range range = MapSmall(1);
  world_.app.ForbidHuge(range);
  EXPECT_EQ(world_.Run(Huge()).pages_gathered, 0u);
  EXPECT_EQ(Small(WhySmall::kSwitchedOff), 1u);
}

TEST_F(Gather, AutoFollowsTheSystemsPolicy) {
  const Range range = MapSmall(2);
  const char* const kPolicy = "/sys/kernel/mm/transparent_hugepage/enabled";
  world_.model.SetFile(kPolicy, "always madvise [never]\n");
  EXPECT_EQ(world_.Run(Huge(PageSize::kAuto)).pages_gathered, 0u);
  EXPECT_EQ(Small(WhySmall::kPolicy), 2u);
  world_.model.SetFile(kPolicy, "always [madvise] never\n");
  world_.app.AdviseHuge({range.start, kHugeBytes});
  EXPECT_EQ(world_.Run(Huge(PageSize::kAuto)).pages_gathered, kPagesPerHuge);
  world_.model.SetFile(kPolicy, "[always] madvise never\n");
  EXPECT_EQ(world_.Run(Huge(PageSize::kAuto)).pages_gathered, kPagesPerHuge) << "the second one";
}

// The kernel would take all of it to one of them.
TEST_F(Gather, ASlotOnSeveralNodesStaysAsItIs) {
  const Range range = MapSmall(1);
  Job job = world_.ToNode(1);
  job.range_count = 1;
  job.ranges[0] = {range.start, kPageBytes};
  world_.Run(job);
  EXPECT_EQ(world_.Run(Huge()).pages_gathered, 0u);
  EXPECT_EQ(Small(WhySmall::kSeveralNodes), 1u);
  EXPECT_EQ(world_.NodeOf(range.start), 1);
  EXPECT_EQ(world_.NodeOf(range.start + kPageBytes), 0);
}

// The kernel would copy them, and the sharing was worth memory.
TEST_F(Gather, SharedPagesAreNotCopied) {
  const Range range = MapSmall(2);
  world_.app.Share({range.start, kPageBytes});
  EXPECT_EQ(world_.Run(Huge()).pages_gathered, kPagesPerHuge);
  EXPECT_EQ(Small(WhySmall::kShared), 1u);
}

// The kernel would fill it again.
TEST_F(Gather, WhatIsThrownAwayMeanwhileIsNotFilled) {
  const Range range = MapSmall(1);
  const Range gone{range.start + 8 * kPageBytes, kPageBytes};
  world_.ExpectZeros(gone);
  Job job = Huge();
  job.own_path = false;
  bool looked_at = false, discarded = false;  // (for shared pages; then comes the last look)
  world_.model.SetHook([&](Call call, uint64_t) {
    looked_at = looked_at || call == Call::kReadEntries;
    if (call != Call::kScan || !looked_at || discarded) return;
    discarded = true;
    world_.app.StartDiscard(gone);
  });
  EXPECT_EQ(world_.Run(job).pages_gathered, 0u);
  EXPECT_EQ(Small(WhySmall::kHoles), 1u);
  EXPECT_FALSE(world_.Present(gone.start));
}

TEST_F(Gather, GivesUpWhereThereIsNoMemory) {
  MapSmall(kGatherNoMemoryMax + 4);
  world_.model.SetHugePagesLeft(false);
  const uint64_t collapses = world_.model.Calls(Call::kCollapse);
  Job job = Huge();
  job.own_path = false;
  world_.Run(job);
  EXPECT_EQ(Small(WhySmall::kNoMemory), kGatherNoMemoryMax + 4);
  EXPECT_EQ(world_.model.Calls(Call::kCollapse) - collapses, kGatherNoMemoryMax);
}

// What is beyond the job's time, or cancelled, is left.
TEST_F(Gather, EndsWhenTheJobIsCancelled) {
  MapSmall(kGatherSlotsMax + 1);
  world_.recorder.ask = [](const JobResult& so_far) {
    return so_far.pages_gathered > 0 ? Next::kStop : Next::kGoOn;
  };
  const JobResult& result = world_.Run(Huge());
  EXPECT_EQ(result.ended_by, Trouble::kCancelled);
  EXPECT_EQ(result.pages_gathered, kGatherSlotsMax * kPagesPerHuge);
}

TEST_F(Gather, ASecondThreadHelpsWhereThereIsACpu) {
  const Range range = MapSmall(8);
  Job job = world_.WithHelper();
  job.page_size = PageSize::kHuge;
  EXPECT_EQ(world_.Run(job).pages_gathered, 8 * kPagesPerHuge);
  for (uint64_t slot = range.start; slot < range.end(); slot += kHugeBytes)
    EXPECT_TRUE(world_.WholeHuge(slot));
}

TEST_F(Gather, TheSecondThreadBeginsWhileTheFirstStillLooks) {
  MapSmall(8);
  Job job = world_.WithHelper();
  job.page_size = PageSize::kHuge;
  std::atomic<bool> begun = false, in_time = false;
  std::atomic<int> looks = 0;
  // One that comes late has its part, too.
  world_.model.SetBeforeHelper([&] {
    for (int naps = 0; naps < 2000 && looks.load() == 0; ++naps)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call == Call::kCollapse) begun.store(true);
    if (call != Call::kReadEntries || ++looks != 2) return;
    for (int naps = 0; naps < 2000 && !begun.load(); ++naps)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    in_time.store(begun.load());
  });
  EXPECT_EQ(world_.Run(job).pages_gathered, 8 * kPagesPerHuge);
  EXPECT_TRUE(in_time.load()) << "the first slot waited for the look at the second one";
}

TEST_F(Gather, TheSecondThreadStartsAnewWithTheOthers) {
  MapSmall(8);
  Job job = world_.WithHelper();
  job.page_size = PageSize::kHuge;
  uint32_t restarts = 0;
  world_.recorder.ask = [&](const JobResult&) {
    if (world_.engine->gatherer == nullptr || restarts > 0) return Next::kGoOn;
    ++restarts;
    return Next::kRestartThreads;
  };
  EXPECT_EQ(world_.Run(job).pages_gathered, 8 * kPagesPerHuge);
  EXPECT_EQ(restarts, 1u);
}

// The time is the model's: one that takes longer than the budget.
TEST_F(Gather, WhatTakesLongerThanTheBudgetIsLeft) {
  MapSmall(2);
  Job job = Huge();
  job.max_stall_ns = kMaxStallNsLeast;
  const uint64_t collapses = world_.model.Calls(Call::kCollapse);
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call == Call::kCollapse || call == Call::kAdvise)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  EXPECT_EQ(world_.Run(job).pages_gathered, 0u);
  EXPECT_EQ(world_.model.Calls(Call::kCollapse) - collapses, 0u)
      << "it was tried on the engine's own";
  EXPECT_EQ(Small(WhySmall::kOverBudget), 2u);
  EXPECT_GT(world_.result.smallest_gather_budget_ns, 1'000'000u);
  job.over_budget = true;
  EXPECT_EQ(world_.Run(job).pages_gathered, 2 * kPagesPerHuge);
}

}  // namespace
}  // namespace drover::flow
