// fork: a child must never read a hole, and must not keep the engine's own pages from moving.
#include "flow/world.h"

namespace drover::flow {
namespace {

TEST_F(Flow, AChildMadeInAWindowReadsWhatItsParentHad) {
  const Range range = world_.MapFilled(16);
  uint64_t words[16] = {};
  for (uint64_t i = 0; i < 16; ++i) words[i] = *world_.app.ReadWord(range.start + i * kPageBytes);
  uint64_t child = 0;
  world_.InWindow([&] { child = world_.app.StartFork(); });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(world_.app.Wait(child), ActionState::kDone);
  for (uint64_t i = 0; i < 16; ++i)
    EXPECT_EQ(world_.app.ChildReadWord(child, range.start + i * kPageBytes), words[i]) << i;
  EXPECT_EQ(result.children_filled, 16u);
  world_.app.EndChild(child);
}

// Shared with a child, the isolated originals and their targets would refuse to move in.
TEST_F(Flow, AChildMadeInAWindowDoesNotKeepThePagesFromMoving) {
  world_.MapFilled(16);
  uint64_t child = 0;
  world_.InWindow([&] { child = world_.app.StartFork(); });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(result.ladder_steps, 0u);
  for (const uint64_t area : {world_.engine->area_small, world_.engine->pool_small})
    EXPECT_EQ(world_.app.ChildReadWord(child, area), std::nullopt) << "the child has it, too";
  world_.app.EndChild(child);
}

}  // namespace
}  // namespace drover::flow
