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

}  // namespace
}  // namespace drover::flow
