// The pool never hurts, and everything is bounded.
#include "flow/world.h"

namespace drover::flow {
namespace {

constexpr uint64_t kPages = 512;

std::string Zones(uint64_t free_pages) {
  std::string text;
  for (const char* node : {"0", "1"})
    text += std::string("Node ") + node + ", zone   Normal\n  pages free     " +
            std::to_string(free_pages) + "\n        min      10\n        low      20\n";
  return text;
}

// Populating beyond what is free does not fail, it kills; so the engine looks first.
TEST_F(Flow, ThePoolGrowsOnlyWhileTwiceItsGrowthIsFree) {
  const Range range = world_.MapFilled(kPages);
  world_.model.SetFile("/proc/zoneinfo", Zones(20 + 2 * kPages - 1));
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), kPages);
  world_.model.SetFile("/proc/zoneinfo", Zones(20 + 2 * kPages));
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_moved, kPages);
}

struct Group {
  const char* cgroup;         // of the process
  const char *usage, *limit;  // files
  uint64_t usage_bytes = 10 << 20;
};
void PrintTo(const Group& group, std::ostream* out) {
  *out << group.limit;
}

class Limit : public testing::TestWithParam<Group> {};
INSTANTIATE_TEST_SUITE_P(
    OfAControlGroup, Limit,
    testing::Values(
        Group{"0::/a/b\n", "/sys/fs/cgroup/a/b/memory.current", "/sys/fs/cgroup/a/b/memory.max"},
        Group{"0::/a/b\n", "/sys/fs/cgroup/a/b/memory.current", "/sys/fs/cgroup/a/b/memory.high"},
        Group{"0::/a/b\n", "/sys/fs/cgroup/a/memory.current", "/sys/fs/cgroup/a/memory.max"},
        Group{"5:cpu:/\n4:memory:/a\n0::/\n", "/sys/fs/cgroup/memory/a/memory.usage_in_bytes",
              "/sys/fs/cgroup/memory/a/memory.limit_in_bytes"}));

TEST_P(Limit, IsKept) {
  World world;
  const Range range = world.MapFilled(kPages);
  const Group& group = GetParam();
  world.model.SetFile("/proc/self/cgroup", group.cgroup);
  world.model.SetFile(group.usage, std::to_string(group.usage_bytes) + "\n");
  const uint64_t needed = 2 * kPages * kPageBytes;
  world.model.SetFile(group.limit, std::to_string(group.usage_bytes + needed - 1) + "\n");
  world.Run(world.ToSame());
  EXPECT_EQ(world.recorder.Count(range, Why::kNoTargetMemory), kPages);
  world.model.SetFile(group.limit, std::to_string(group.usage_bytes + needed) + "\n");
  EXPECT_EQ(world.Run(world.ToSame()).pages_moved, kPages);
  world.CheckAll();
}

// The policy is a preference: on a full node the pool comes from elsewhere, and is given back.
TEST_F(Flow, TargetPagesOnTheWrongNodeAreGivenBack) {
  const Range range = world_.MapFilled(16);
  const uint64_t free_pages = world_.model.FreePages(Node{1});
  world_.model.SetFreePages(Node{1}, 0);
  world_.Run(world_.ToNode(1));
  EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), 16u);
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    EXPECT_EQ(world_.NodeOf(page), 0);
  world_.model.SetFreePages(Node{1}, free_pages);
  EXPECT_EQ(world_.Run(world_.ToNode(1)).pages_moved, 16u);
}

TEST_F(Flow, WithoutAFreeHugePageOnTheTargetTheHugePageStays) {
  const Range slot = world_.MapFilledHuge(1);
  world_.model.SetHugePagesLeft(false);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(slot, Why::kNoTargetHuge), kPagesPerHuge);
  EXPECT_TRUE(world_.WholeHuge(slot.start));
}

TEST_F(Flow, TheEngineStopsNearTheLimitOfMappings) {
  const Range range = world_.MapFilled(16);
  world_.model.SetFile("/proc/sys/vm/max_map_count", "1003\n");
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.own_path_trouble, Trouble::kMappings);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 0u);
  world_.model.SetFile("/proc/sys/vm/max_map_count", "65530\n");
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_moved, 16u);
}

// A fork in a window brings a descriptor; one that could not be taken would hang the program.
TEST_F(Flow, TheEngineStandsBackWhereDescriptorsAreFew) {
  world_.MapFilled(16);
  for (int i = 0; i < 10; ++i) world_.model.AddDescriptor("/dev/null");
  const auto limits = [](const char* count) {
    return std::string(
               "Limit                     Soft Limit           Hard Limit           Units\n"
               "Max open files            ") +
           count + "                   4096       files\n";
  };
  world_.model.SetFile("/proc/self/limits", limits("25"));
  EXPECT_EQ(world_.Run(world_.ToSame()).own_path_trouble, Trouble::kDescriptors);
  world_.model.SetFile("/proc/self/limits", limits("26"));
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_moved, 16u);
}

// A change of mappings that does not come to its end: the window is given up, not held open.
TEST_F(Flow, AWindowDoesNotWaitForEverForAChange) {
  const Range range = world_.MapFilled(16);
  world_.model.SetLingeringAgain(kAgainsPerWindowMax * 3);
  world_.ExpectZeros({range.start + 15 * kPageBytes, kPageBytes});
  const uint64_t moves = world_.model.Calls(Call::kMove);
  const uint64_t looks = world_.model.Calls(Call::kReadEntries);
  uint64_t moves_in_first_window = 0;
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kReadEntries && nth == looks + 1)
      world_.app.StartDiscard({range.start + 15 * kPageBytes, kPageBytes});
    if (call == Call::kProtect && moves_in_first_window == 0)
      moves_in_first_window = world_.model.Calls(Call::kMove) - moves;
  });
  world_.Run(world_.ToSame());
  EXPECT_GT(moves_in_first_window, 1u);
  EXPECT_LE(moves_in_first_window, kAgainsPerWindowMax + 1);
}

// Walking all mappings once a piece would make a plan cost many times what its move costs.
TEST_F(Flow, APlanCountsTheMappingsOnce) {
  constexpr uint64_t kMappings = 30;
  world_.model.SetFile("/proc/sys/vm/max_map_count", "65530\n");
  for (uint64_t i = 0; i < kMappings; ++i) world_.MapFilled(1);
  Job plan = world_.ToSame();
  plan.plan_only = true;
  const uint64_t before = world_.model.Calls(Call::kNextMapping);
  EXPECT_EQ(world_.Run(plan).pages_moved, kMappings);
  EXPECT_LT(world_.model.Calls(Call::kNextMapping) - before, 10 * kMappings);
}

// Small mappings make small batches, and of those the forecast of a small program consists.
TEST_F(Flow, APlanNamesTheBatchesOfItsMove) {
  for (uint64_t i = 0; i < 10; ++i) world_.MapFilled(1 + i);
  Job job = world_.ToSame();
  job.plan_only = true;
  const uint64_t planned = world_.Run(job).batches;
  job.plan_only = false;
  EXPECT_EQ(world_.Run(job).batches, planned);
  EXPECT_EQ(planned, 10u);
}

// What has had no turn by then is booked, and not looked at again. (One nanosecond is over before
// the first.)
TEST_F(Flow, WhenItsTimeIsOverTheRestStays) {
  for (const bool own_path : {true, false}) {
    const Range range = world_.MapFilled(64);
    const auto before = world_.Frames(range);
    Job job = world_.ToNode(1);
    job.ranges[0] = range;
    job.range_count = 1;
    job.own_path = own_path;
    job.batch_bytes = 16 * kPageBytes;
    job.time_ns = 1;
    world_.Run(job);
    EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 0u);
    EXPECT_EQ(world_.recorder.Count(range, Why::kTimeIsUp), 64u);
    EXPECT_EQ(world_.result.rounds, 0u);
    EXPECT_EQ(world_.Frames(range), before);
  }
}

// It waits between batches, and the wait ends with the job's time.
TEST_F(Flow, AJobKeepsItsRate) {
  const Range range = world_.MapFilled(64);
  Job job = world_.ToSame();
  job.batch_bytes = 16 * kPageBytes;
  job.rate_bytes_per_s = 64 * kPageBytes * 10;  // a tenth of a second for all
  EXPECT_EQ(world_.Run(job).pages_moved, 64u);
  EXPECT_GE(world_.result.wall_ns, 70'000'000u);
  job.rate_bytes_per_s = kRateLeast;  // a second for each batch
  job.time_ns = 300'000'000;
  EXPECT_LE(world_.Run(job).pages_moved, 16u);
  EXPECT_GE(world_.recorder.Count(range, Why::kTimeIsUp), 48u);
}

}  // namespace
}  // namespace drover::flow
