// remap: what the application does inside a window without any event. Putting back always ends.
#include "flow/world.h"

namespace drover::flow {
namespace {

TEST_F(Flow, MprotectInTheWindow) {
  const Range range = world_.MapFilled(16);
  world_.InWindow([&] { world_.app.Protect({range.start, 8 * kPageBytes}, true, false, false); });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 8u);
  EXPECT_EQ(world_.recorder.Count(range, Why::kRights), 8u) << "as the next round has found them";
  EXPECT_EQ(result.ladder_copies, 8u);
}

// The copy in the pool has gone before COPY allocates: that it is gone then proves nothing.
TEST_F(Flow, CopyOfTheLadderMeetsAChangeOfMappings) {
  const Range range = world_.MapFilled(16);
  const Range discarded{range.start + 12 * kPageBytes, kPageBytes};
  world_.model.SetHook([&, protects = world_.model.Calls(Call::kProtect)](Call call, uint64_t nth) {
    if (call == Call::kProtect && nth == protects + 1)
      world_.app.Protect({range.start, 8 * kPageBytes}, true, false, false);
    if (call == Call::kCopyPage && nth == 1) world_.app.StartDiscard(discarded);
  });
  world_.ExpectZeros(discarded);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.ladder_copies, 8u);
}

}  // namespace
}  // namespace drover::flow
