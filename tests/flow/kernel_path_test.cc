// The kernel path: what the own path cannot take, in chunks, and what became of each page.
#include "flow/world.h"

namespace drover::flow {
namespace {

// move_pages(2) ends at the first target node of which a page is refused; the pages of the other
// targets in the same chunk have not been tried then.
TEST_F(Flow, OnePinnedPageDoesNotKeepOtherTargetsBack) {
  const Range to_one = world_.MapFilled(8), to_zero = world_.MapFilled(8);
  world_.app.PlaceOn(to_zero, Node{1});
  world_.app.Pin({to_one.start, kPageBytes});
  Job job = world_.ToNode(1);
  job.own_path = false;
  job.placement.target_of[1] = 0;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(to_one, Outcome::kMoved), 7u);
  EXPECT_EQ(world_.recorder.Count(to_zero, Outcome::kMoved), 8u);
  world_.app.Unpin({to_one.start, kPageBytes});
}

// The second job of `drover move --shared`: whatever is not there yet, and for all who map it.
TEST_F(Flow, ASharedJobMovesFilesAndWhatSeveralProcessesMap) {
  World::MapOptions shared_memory;
  shared_memory.shared = shared_memory.file = true;
  const Range alone = world_.MapFilled(8), forked = world_.MapFilled(16),
              memory = world_.MapFilled(32, shared_memory), left_out = world_.MapFilled(4);
  const uint64_t child = world_.app.Share(forked);
  Job job = world_.ToNode(1);
  EXPECT_EQ(world_.Run(job).pages_moved, 8u + 4u);
  EXPECT_EQ(world_.recorder.Count(forked, Outcome::kNotMoved), 16u);
  world_.app.PlaceOn(left_out, Node{0});
  job.shared = true;
  job.own_path = false;
  job.left_out_count = 1;
  job.left_out[0] = left_out;
  Job plan = job;
  plan.plan_only = true;
  EXPECT_EQ(world_.Run(plan).moved_kernel_path, 48u);
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 48u);
  EXPECT_EQ(world_.result.pages_already_there, 8u);
  EXPECT_EQ(world_.NodeOf(forked.start), 1);
  EXPECT_EQ(world_.NodeOf(memory.start), 1);
  EXPECT_EQ(world_.NodeOf(alone.start), 1);
  EXPECT_EQ(world_.NodeOf(left_out.start), 0);
  world_.app.EndChild(child);
}

// A call of move_pages(2) is as long as a window may be, so the first one is small.
TEST_F(Flow, UnderABudgetCallsBeginSmallAndGrow) {
  const Range range = world_.MapFilled(256);
  Job job = world_.ToNode(1);
  job.own_path = false;
  job.max_stall_ns = 1'000'000'000;
  uint64_t before_second = 0, before_third = 0;
  world_.Before(Call::kMovePages, 2, [&] {
    before_second = world_.recorder.Count(range, Outcome::kMoved);
    world_.Before(Call::kMovePages, 1,
                  [&] { before_third = world_.recorder.Count(range, Outcome::kMoved); });
  });
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 256u);
  EXPECT_EQ(before_second, 8u);
  EXPECT_EQ(before_third, 24u);
}

// (A copy of 2 MiB takes more than 10 us on every machine.) The kernel would make the program wait
// as long.
TEST_F(Flow, HugePagesThatAreOverBudgetStayUnlessForced) {
  const Range huge = world_.MapFilledHuge(2), small = world_.MapFilled(8);
  Job job = world_.ToNode(1);
  job.max_stall_ns = kMaxStallNsLeast;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(huge, Why::kOverBudget), 2 * kPagesPerHuge);
  EXPECT_EQ(world_.NodeOf(huge.start), 0);
  EXPECT_TRUE(world_.WholeHuge(huge.start));
  EXPECT_EQ(world_.result.moved_kernel_path, 0u);
  EXPECT_GT(world_.result.smallest_budget_ns, kMaxStallNsLeast);
  job.over_budget = true;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(huge, Outcome::kMoved), 2 * kPagesPerHuge);
  EXPECT_EQ(world_.NodeOf(huge.start), 1);
  EXPECT_TRUE(world_.WholeHuge(huge.start));
  EXPECT_EQ(world_.NodeOf(small.start), 1);
}

}  // namespace
}  // namespace drover::flow
