// Two sides change places where both nodes are full.
#include "flow/world.h"

namespace drover::flow {
namespace {

class Exchanging : public testing::Test {
 protected:
  void TearDown() override { world_.CheckAll(); }

  // Filled memory on this node.
  Range On(int32_t node, uint64_t pages, bool huge = false) {
    world_.model.SetLocalNode(Node{node});
    return huge ? world_.MapFilledHuge(pages / kPagesPerHuge) : world_.MapFilled(pages);
  }
  // The pages of `zero` are on node 0, those of `one` on node 1.
  Job Exchange(Range zero, Range one) const {
    Job job = world_.ToNode(1);
    job.reuse = job.exchange.on = true;
    job.exchange.to[0] = 1;
    job.exchange.to[1] = 0;
    job.placement.target_of[1] = 0;
    const bool zero_first = zero.start < one.start;
    job.range_count = 2;
    job.ranges[0] = zero_first ? zero : one;
    job.ranges[1] = zero_first ? one : zero;
    job.exchange.side_of[0] = zero_first ? 0 : 1;
    job.exchange.side_of[1] = zero_first ? 1 : 0;
    job.kernel_path = false;
    return job;
  }
  // From now on no more than that many pages are free, above the low watermark, and the engine's
  // look at it is as true as the kernel's.
  void LeaveFree(uint64_t on_zero, uint64_t on_one) {
    world_.model.SetFreePages(Node{0}, on_zero);
    world_.model.SetFreePages(Node{1}, on_one);
    world_.model.SetHook([this](Call call, uint64_t) {
      if (call == Call::kReadFile) ShowFree();
    });
  }
  void ShowFree() {
    std::string text;
    for (const int node : {0, 1})
      text += "Node " + std::to_string(node) + ", zone   Normal\n  pages free     " +
              std::to_string(world_.model.FreePages(Node{node}) + 20) +
              "\n        min      10\n        low      20\n";
    world_.model.SetFile("/proc/zoneinfo", text);
  }
  uint64_t CountOn(Range range, int32_t node) {
    uint64_t count = 0;
    for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
      count += world_.NodeOf(page) == node;
    return count;
  }

  World world_{World::Nodes(2)};
};

TEST_F(Exchanging, TakesNothingButAFirstBatch) {
  const Range zero = On(0, 4 * kPagesPerHuge), one = On(1, 4 * kPagesPerHuge);
  // A plain move of either would not fit.
  LeaveFree(8, 2 * kPagesPerHuge);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.pages_moved, 8 * kPagesPerHuge);
  EXPECT_EQ(result.pages_reused, 7 * kPagesPerHuge);
  EXPECT_EQ(CountOn(zero, 1), zero.length / kPageBytes);
  EXPECT_EQ(CountOn(one, 0), one.length / kPageBytes);
}

TEST_F(Exchanging, BatchesAreAsSmallAsTheFirstHasToBe) {
  const Range zero = On(0, kPagesPerHuge), one = On(1, kPagesPerHuge);
  LeaveFree(0, 2 * 16);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.pages_moved, 2 * kPagesPerHuge);
  EXPECT_EQ(CountOn(zero, 1), kPagesPerHuge);
  EXPECT_EQ(CountOn(one, 0), kPagesPerHuge);
}

TEST_F(Exchanging, HugePagesStayHuge) {
  const Range zero = On(0, 3 * kPagesPerHuge, true), one = On(1, 3 * kPagesPerHuge, true);
  LeaveFree(2 * kPagesPerHuge, 0);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.moved_huge, 6 * kPagesPerHuge);
  EXPECT_EQ(CountOn(zero, 1), zero.length / kPageBytes);
  EXPECT_EQ(CountOn(one, 0), one.length / kPageBytes);
  EXPECT_TRUE(world_.WholeHuge(one.start));
}

// Batches shrink where a page stays, or a range ends in the middle of one, and grow again.
TEST_F(Exchanging, GoesOnBehindPagesThatStay) {
  const Range zero = On(0, 1500), one = On(1, 1400);
  world_.app.Pin({zero.start + 3 * kPageBytes, kPageBytes});
  world_.app.Pin({one.start + 700 * kPageBytes, kPageBytes});
  LeaveFree(kPagesPerHuge, kPagesPerHuge);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.not_moved_why[static_cast<uint32_t>(Why::kBusy)], 2u);
  EXPECT_EQ(CountOn(one, 0), 1399u);
  // What is more than the other side takes free memory like any other move.
  EXPECT_GE(CountOn(zero, 1), 1399u);
  EXPECT_EQ(result.pages_moved + result.pages_not_moved, 2900u);
}

// What one side has left is not where the other side wants it; but it is as much.
TEST_F(Exchanging, OfSparseRangesEveryPageComes) {
  world_.model.SetLocalNode(Node{0});
  const Range zero = world_.Map(3 * kPagesPerHuge);
  for (uint64_t i = 0; i < 3 * kPagesPerHuge; i += 2)
    world_.Fill({zero.start + i * kPageBytes, kPageBytes});
  world_.model.SetLocalNode(Node{1});
  const Range one = world_.Map(3 * kPagesPerHuge);
  for (uint64_t i = 1; i < 3 * kPagesPerHuge; i += 2)
    world_.Fill({one.start + i * kPageBytes, kPageBytes});
  LeaveFree(kPagesPerHuge, 0);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.pages_not_moved, 0u);
  EXPECT_EQ(CountOn(zero, 1), 3 * kPagesPerHuge / 2);
  EXPECT_EQ(CountOn(one, 0), 3 * kPagesPerHuge / 2);
}

TEST_F(Exchanging, OfSmallPagesWithHugeOnesEveryPageComes) {
  const Range zero = On(0, 3 * kPagesPerHuge, true), one = On(1, 3 * kPagesPerHuge);
  LeaveFree(2 * kPagesPerHuge, 2 * kPagesPerHuge);
  EXPECT_EQ(world_.Run(Exchange(zero, one)).pages_not_moved, 0u);
  EXPECT_EQ(CountOn(zero, 1), zero.length / kPageBytes);
  EXPECT_EQ(CountOn(one, 0), one.length / kPageBytes);
}

TEST_F(Exchanging, LargeBatchesOfHugePagesAreMadeSmaller) {
  const Range zero = On(0, 4 * kPagesPerHuge, true), one = On(1, 4 * kPagesPerHuge, true);
  LeaveFree(0, 2 * kPagesPerHuge);
  Job job = Exchange(zero, one);
  job.batch_bytes = 4 * kHugeBytes;
  EXPECT_EQ(world_.Run(job).moved_huge, 8 * kPagesPerHuge);
}

TEST_F(Exchanging, ByTheKernelPathTakesManyPagesAtATime) {
  const Range zero = On(0, 2 * kPagesPerHuge), one = On(1, 2 * kPagesPerHuge);
  Job job = Exchange(zero, one);
  job.own_path = false;
  job.kernel_path = true;
  world_.model.SetFile("/proc/zoneinfo", "Node 0, zone Normal\n  pages free 20\n low 20\n");
  const uint64_t calls = world_.model.Calls(Call::kMovePages);
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 4 * kPagesPerHuge);
  EXPECT_LE(world_.model.Calls(Call::kMovePages) - calls, 4 * kPagesPerHuge / 32);
}

TEST_F(Exchanging, WithoutAFreePageOnEitherNodeNothingMoves) {
  const Range zero = On(0, 64), one = On(1, 64);
  LeaveFree(1, 1);
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.not_moved_why[static_cast<uint32_t>(Why::kNoTargetMemory)], 128u);
  EXPECT_EQ(CountOn(zero, 0), 64u);
}

TEST_F(Exchanging, OfOneSideMayBeThereAlready) {
  const Range zero = On(0, 100), one = On(1, 100);
  world_.app.PlaceOn({zero.start, 40 * kPageBytes}, Node{1});
  const JobResult& result = world_.Run(Exchange(zero, one));
  EXPECT_EQ(result.pages_already_there, 40u);
  EXPECT_EQ(result.pages_moved, 160u);
  EXPECT_EQ(CountOn(zero, 1), 100u);
}

TEST_F(Exchanging, IsAPlanToo) {
  const Range zero = On(0, 100), one = On(1, 100);
  Job job = Exchange(zero, one);
  job.plan_only = true;
  EXPECT_EQ(world_.Run(job).pages_moved, 200u);
  EXPECT_EQ(CountOn(zero, 0), 100u);
}

TEST_F(Exchanging, AJobThatMakesNoSenseIsRefused) {
  const Range zero = On(0, 1), one = On(1, 1);
  const Job good = Exchange(zero, one);
  EXPECT_TRUE(IsValid(good));
  const auto spoilt = [&](auto&& spoil) {
    Job job = good;
    spoil(job);
    return IsValid(job);
  };
  EXPECT_FALSE(spoilt([](Job& job) { job.exchange.to[0] = job.exchange.to[1]; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.exchange.to[1] = -1; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.exchange.to[1] = kNodesMax; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.exchange.side_of[1] = 2; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.exchange.side_of[0] = job.exchange.side_of[1]; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.reuse = false; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.shared = true; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.verify = true; }));
  EXPECT_FALSE(spoilt([](Job& job) { job.page_size = PageSize::kHuge; }));
}

}  // namespace
}  // namespace drover::flow
