// collect: which pages are asked for, where each goes and by which path, and what is told of the
// rest.
#include "flow/world.h"

namespace drover::flow {
namespace {

struct Kind {
  const char* name;
  World::MapOptions options;
  bool asked_for;        // without a range that names it
  Why why = Why::kNone;  // why the own path does not take it; kNone: it does
};
void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

class Mappings : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(
    Kinds, Mappings,
    testing::Values(Kind{"plain", {}, true},
                    Kind{"read_write_execute", {.executable = true}, true, Why::kRights},
                    Kind{"stack", {.stack = true}, true, Why::kStack},
                    Kind{"locked", {.locked = true}, true, Why::kLocked},
                    Kind{"keyed", {.keyed = true}, true, Why::kProtectionKey},
                    Kind{"watched_by_the_application",
                         {.foreign_userfault = true},
                         true,
                         Why::kForeignUserfault},
                    Kind{"written_pages_of_a_private_file", {.file = true}, true, Why::kFile},
                    Kind{"shared", {.shared = true}, false, Why::kFile}),
    [](const auto& each) { return std::string(each.param.name); });

// By the kernel path where there is one for it, and else with the own path's cause.
TEST_P(Mappings, AreAskedForAndTakenAsTheirKindAllows) {
  const Kind& kind = GetParam();
  World world;
  const Range range = world.MapFilled(16, kind.options);
  const JobResult& all = world.Run(world.ToSame());
  EXPECT_EQ(all.pages_requested, kind.asked_for ? 16u : 0u);

  Job named = world.ToSame();
  named.range_count = 1;
  named.ranges[0] = range;
  world.Run(named);
  if (kind.why == Why::kNone)
    EXPECT_EQ(world.result.moved_own_path, 16u);
  else
    EXPECT_EQ(world.recorder.Count(range, kind.why), 16u);

  Job to_other = world.ToNode(1);
  to_other.range_count = 1;
  to_other.ranges[0] = range;
  const JobResult& moved = world.Run(to_other);
  EXPECT_EQ(moved.pages_moved, 16u);
  EXPECT_EQ(kind.why == Why::kNone ? moved.moved_own_path : moved.moved_kernel_path, 16u);
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    EXPECT_EQ(world.NodeOf(page), 1);
  EXPECT_EQ(world.Run(to_other).pages_already_there, 16u);
  world.CheckAll();
}

TEST_F(Flow, OnlyWhatIsPresentIsAskedFor) {
  const Range range = world_.Map(64);
  world_.Fill({range.start + 7 * kPageBytes, 3 * kPageBytes});
  world_.Fill({range.start + 40 * kPageBytes, 2 * kPageBytes});
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_requested, 5u);
  EXPECT_EQ(result.pages_moved, 5u);
  EXPECT_EQ(result.pages_estimated, 5u);
}

TEST_F(Flow, PagesInSwapAreLeftThere) {
  const Range range = world_.MapFilled(16);
  world_.app.SwapOut({range.start, 4 * kPageBytes});
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_requested, 12u);
}

TEST_F(Flow, APageThatIsSwappedOutMeanwhileIsNotGone) {
  const Range range = world_.MapFilled(16);
  const Range swapped{range.start, 4 * kPageBytes};
  world_.Before(Call::kRegister, 1, [&] { world_.app.SwapOut(swapped); });
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(swapped, Why::kSwapped), 4u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 12u);
}

TEST_F(Flow, NamedRangesAndNothingElse) {
  const Range first = world_.MapFilled(16), second = world_.MapFilled(16);
  Job job = world_.ToSame();
  job.range_count = 2;
  job.ranges[0] = {first.start + 2 * kPageBytes, 3 * kPageBytes};
  job.ranges[1] = {second.start, kPageBytes};
  const auto before = world_.Frames(first);
  EXPECT_EQ(world_.Run(job).pages_moved, 4u);
  for (uint64_t i = 0; i < 16; ++i)
    EXPECT_EQ(
        world_.FrameOf(first.start + i * kPageBytes) != before.at(first.start + i * kPageBytes),
        i >= 2 && i < 5)
        << i;
}

TEST_F(Flow, OnlyPagesOfTheNamedNodeAreAskedFor) {
  const Range range = world_.MapFilled(16);
  world_.app.PlaceOn({range.start, 6 * kPageBytes}, Node{1});
  Job job = world_.ToNode(0);
  job.placement.target_of[0] = Placement::kNotAsked;
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_requested, 6u);
  EXPECT_EQ(result.pages_moved, 6u);
  EXPECT_EQ(world_.NodeOf(range.start), 0);
}

TEST(FlowOfThreeNodes, PagesAreSpreadByWeight) {
  World world(World::Nodes(3));
  const Range range = world.MapFilled(32 * 16);
  Job job = world.ToSame();
  job.placement.same = false;
  job.placement.node_count = 3;
  job.placement.target_of[0] = Placement::kSpread;
  job.placement.spread_count = 2;
  job.placement.spread[0] = 1, job.placement.spread[1] = 2;
  job.placement.spread_weight[0] = 3, job.placement.spread_weight[1] = 1;
  job.batch_bytes = 16 * kPageBytes;
  const JobResult& result = world.Run(job);
  EXPECT_EQ(result.pages_moved, 32u * 16);
  uint64_t on[3] = {};
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    ++on[world.NodeOf(page)];
  EXPECT_EQ(on[0], 0u);
  EXPECT_EQ(on[1], 3 * on[2]);
  world.CheckAll();
}

TEST_F(Flow, AJobStopsAtTheBatchBoundary) {
  const Range range = world_.MapFilled(64);
  Job job = world_.ToSame();
  job.batch_bytes = 16 * kPageBytes;
  uint64_t asked = 0;
  world_.recorder.ask = [&](const JobResult&) { return ++asked > 2 ? Next::kStop : Next::kGoOn; };
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.ended_by, Trouble::kCancelled);
  EXPECT_GT(result.pages_moved, 0u);
  EXPECT_LT(result.pages_moved, 64u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), result.pages_moved);
}

// The pages of which lie side by side: for what is to be moved, and in the window for what is
// there.
TEST_F(Flow, ABatchOfSmallPagesIsScannedTwice) {
  const auto scans_of = [](uint64_t batches) {
    World world;
    world.MapFilled(batches * kPagesPerHuge);
    const uint64_t before = world.model.Calls(Call::kScan);
    EXPECT_EQ(world.Run(world.ToSame()).batches, batches);
    return world.model.Calls(Call::kScan) - before;
  };
  EXPECT_EQ(scans_of(9) - scans_of(3), 6 * 2);
}

// (Each would be an entry of the page table that the kernel changes.)
TEST_F(Flow, NothingIsThereWhenAWatchForWriteProtectionEnds) {
  constexpr uint64_t kBatches = 3;
  world_.MapFilled(kBatches * kPagesPerHuge);
  EXPECT_EQ(world_.Run(world_.ToSame()).batches, kBatches);
  EXPECT_EQ(world_.model.EntriesUnprotected(), 0u);
}

}  // namespace
}  // namespace drover::flow
