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

// Memory that the application wants wiped in its children is not filled there.
TEST_F(Flow, AChildMadeInAWindowDoesNotGetWhatIsToBeWiped) {
  const Range kept = world_.MapFilled(4), wiped = world_.MapFilled(4);
  world_.app.AdviseWipeOnFork(wiped);
  uint64_t child = 0;
  // The window of the piece that is wiped: the second or the first, as the walk goes.
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call == Call::kProtect && child == 0 && !world_.Present(wiped.start))
      child = world_.app.StartFork();
  });
  world_.Run(world_.ToSame());
  ASSERT_NE(child, 0u);
  EXPECT_EQ(world_.app.ChildReadWord(child, wiped.start), uint64_t{0});
  EXPECT_EQ(world_.app.ChildReadWord(child, kept.start), world_.app.ReadWord(kept.start));
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
  for (const uint64_t area :
       {world_.engine->areas[0].area_small, world_.engine->areas[0].pool_small})
    EXPECT_EQ(world_.app.ChildReadWord(child, area), std::nullopt) << "the child has it, too";
  world_.app.EndChild(child);
}

// ---- without the right to fork events

class FlowWithoutForkEvents : public testing::Test {
 protected:
  static ModelKernel::Options Options() {
    auto options = World::Nodes(2);
    options.features &= ~kernel::kFeatureEventFork;
    return options;
  }
  FlowWithoutForkEvents() : world_(Options()) { world_.engine->fork_events = false; }
  void TearDown() override { world_.CheckAll(); }

  World world_;
};

// By an inline system call, which nothing can hold off: no mapping, never zeros.
TEST_F(FlowWithoutForkEvents, AChildMadeInAWindowHasNoMappingThere) {
  const Range range = world_.MapFilled(16), other = world_.MapFilled(16);
  const uint64_t word = *world_.app.ReadWord(other.start);
  uint64_t child = 0;
  Job job = world_.ToSame();
  job.range_count = 1;
  job.ranges[0] = range;
  world_.InWindow([&] { child = world_.app.StartFork(); });
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(result.windows_guarded, 1u);
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    EXPECT_EQ(world_.app.ChildReadWord(child, page), std::nullopt);
  EXPECT_EQ(world_.app.ChildReadWord(child, other.start), word);
  EXPECT_TRUE(world_.app.IsInherited(range.start)) << "the next child has it again";
  world_.app.EndChild(child);
}

TEST_F(FlowWithoutForkEvents, WhatTheApplicationDoesNotLetInheritStaysSo) {
  const Range range = world_.MapFilled(16);
  world_.app.AdviseDontFork(range);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(result.windows_guarded, 0u);
  EXPECT_FALSE(world_.app.IsInherited(range.start));
}

// Between two batches, told by a hook.
TEST_F(FlowWithoutForkEvents, AChangeOfWhatIsInheritedIsHeard) {
  const Range range = world_.MapFilled(32);
  const Range second{range.start + 16 * kPageBytes, 16 * kPageBytes};
  threads::Word changed = 0;
  world_.engine->dont_fork_changed = &changed;
  Job job = world_.ToSame();
  job.batch_bytes = 16 * kPageBytes;
  uint64_t asked = 0;
  world_.recorder.ask = [&](const JobResult&) {
    if (++asked == 2) world_.app.AdviseDontFork(second), changed = 1;
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(job).pages_moved, 32u);
  EXPECT_TRUE(world_.app.IsInherited(range.start));
  EXPECT_FALSE(world_.app.IsInherited(second.start));
}

TEST_F(FlowWithoutForkEvents, WhatMremapCarriesAwayIsInheritedAgain) {
  const Range range = world_.MapFilled(16);
  uint64_t target = 0;
  world_.InWindow([&] { world_.app.StartRemap(range, &target); });
  Job job = world_.ToSame();
  job.range_count = 1;
  job.ranges[0] = range;
  EXPECT_EQ(world_.Run(job).pages_moved, 16u);
  EXPECT_TRUE(world_.app.IsInherited(target));
  world_.ExpectMoved(range, target);
}

}  // namespace
}  // namespace drover::flow
