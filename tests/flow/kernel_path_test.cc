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

}  // namespace
}  // namespace drover::flow
