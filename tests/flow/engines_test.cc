// Copy engines that do their work, and those that do not.
#include <algorithm>
#include <cstring>

#include "flow/table.h"
#include "flow/world.h"

namespace drover::flow {
namespace {

using migrators::Fault;
using migrators::Spec;

ModelKernel::Options RoomForVerify() {
  ModelKernel::Options options = World::Nodes(2);
  options.arena_bytes = uint64_t{4} << 30;  // addresses
  return options;
}

class Engines : public testing::Test {
 protected:
  Engines() : world_(RoomForVerify()) {}
  void TearDown() override { world_.CheckAll(); }
  Job With(std::vector<Spec> specs) const {
    Job job = world_.ToSame();
    job.engine_count = static_cast<uint32_t>(specs.size());
    std::copy(specs.begin(), specs.end(), job.engines);
    for (const Spec& spec : specs) job.helper_count += HelpersOf(spec);
    for (int16_t& cpu : job.helper_cpus) cpu = -1;
    return job;
  }
  static Spec Faulty(Fault fault) { return {.kind = migrators::Kind::kFault, .fault = fault}; }
  const EngineTally& Of(migrators::Kind kind) const {
    return world_.result.engines[static_cast<uint32_t>(kind)];
  }
  // On all nodes, by /proc/zoneinfo.
  static std::string FreePages(uint64_t count) {
    std::string text;
    for (const char* node : {"0", "1"})
      text += std::string("Node ") + node + ", zone   Normal\n  pages free     " +
              std::to_string(count + 20) + "\n        min      10\n        low      20\n";
    return text;
  }
  uint64_t CopiedByAll() const {
    uint64_t sum = world_.result.pages_by_cpu;
    for (const EngineTally& tally : world_.result.engines) sum += tally.pages;
    return sum;
  }

  World world_;
};

// ---- those that work

class WorkingEngines : public Engines, public testing::WithParamInterface<std::vector<Spec>> {};

TEST_P(WorkingEngines, MoveSmallAndHugePages) {
  const Range small = world_.MapFilled(3 * kPagesPerHuge + 5), huge = world_.MapFilledHuge(3);
  const auto before = world_.Frames(small), before_huge = world_.Frames(huge);
  const JobResult& result = world_.Run(With(GetParam()));
  EXPECT_EQ(result.pages_moved, (small.length + huge.length) / kPageBytes);
  EXPECT_TRUE(world_.Relocated(small, before));
  EXPECT_TRUE(world_.Relocated(huge, before_huge));
  EXPECT_EQ(CopiedByAll(), result.moved_own_path);
  for (const Spec& spec : GetParam()) EXPECT_GT(Of(spec.kind).batches, 0u) << NameOf(spec.kind);
}

INSTANTIATE_TEST_SUITE_P(
    Of, WorkingEngines,
    testing::Values(std::vector<Spec>{{.kind = migrators::Kind::kSerial}},
                    std::vector<Spec>{{.kind = migrators::Kind::kThreads, .count = 1}},
                    std::vector<Spec>{{.kind = migrators::Kind::kThreads, .count = 4}},
                    std::vector<Spec>{{.kind = migrators::Kind::kChannels, .count = 1}},
                    std::vector<Spec>{{.kind = migrators::Kind::kChannels, .count = 4}},
                    std::vector<Spec>{{.kind = migrators::Kind::kChannels, .count = 2},
                                      {.kind = migrators::Kind::kThreads, .count = 2},
                                      {.kind = migrators::Kind::kSerial}}));

TEST_F(Engines, ShareEachBatch) {
  world_.MapFilled(kPagesPerHuge);
  world_.Run(
      With({{.kind = migrators::Kind::kThreads, .count = 2}, {.kind = migrators::Kind::kSerial}}));
  EXPECT_EQ(Of(migrators::Kind::kThreads).pages, kPagesPerHuge / 2);
  EXPECT_EQ(Of(migrators::Kind::kSerial).pages, kPagesPerHuge / 2);
}

TEST_F(Engines, GetWhatTheirTermsAllow) {
  world_.MapFilled(2 * kPagesPerHuge);
  migrators::Registry& registry = world_.engine->registry;
  constexpr auto kThreads = migrators::Kind::kThreads;
  const Job job = With({{.kind = migrators::Kind::kThreads, .count = 1}});
  registry.Set(kThreads, {.reasons = 1u << static_cast<uint32_t>(Reason::kDemotion)});
  EXPECT_EQ(world_.Run(job).pages_by_cpu, 2 * kPagesPerHuge) << "for another reason";
  Job demotion = job;
  demotion.reason = Reason::kDemotion;
  EXPECT_EQ(world_.Run(demotion).pages_by_cpu, 0u);
  registry.Set(kThreads, {.smallest_bytes = kHugeBytes + 1});
  EXPECT_EQ(world_.Run(job).pages_by_cpu, 2 * kPagesPerHuge) << "too small";
  registry.Set(kThreads, {});
  registry.Unregister(kThreads);
  EXPECT_EQ(world_.Run(job).pages_by_cpu, 2 * kPagesPerHuge) << "unregistered";
  registry.Register(kThreads);
  EXPECT_EQ(world_.Run(job).pages_by_cpu, 0u);
}

// ---- honest failures

TEST_F(Engines, ThatFailHaveTheirWorkDoneByTheCpu) {
  const Range small = world_.MapFilled(2 * kPagesPerHuge), huge = world_.MapFilledHuge(2);
  for (const Fault fault : {Fault::kFail, Fault::kFailAll, Fault::kRefuse}) {
    const auto before = world_.Frames(small);
    const JobResult& result = world_.Run(With({Faulty(fault)}));
    EXPECT_EQ(result.pages_moved, (small.length + huge.length) / kPageBytes) << NameOf(fault);
    EXPECT_TRUE(world_.Relocated(small, before));
    EXPECT_GT(result.pages_by_cpu, 0u);
    EXPECT_EQ(CopiedByAll(), result.pages_moved);
    const EngineTally& tally = Of(migrators::Kind::kFault);
    EXPECT_EQ(tally.failed, fault == Fault::kRefuse ? 0 : tally.batches);
    EXPECT_EQ(tally.refused > 0, fault == Fault::kRefuse);
    world_.CheckContent();
  }
}

TEST_F(Engines, ThatRefuseLeaveTheirPartToTheOthers) {
  world_.MapFilled(kPagesPerHuge);
  world_.Run(With({Faulty(Fault::kRefuse), {.kind = migrators::Kind::kThreads, .count = 1}}));
  EXPECT_EQ(Of(migrators::Kind::kThreads).pages, kPagesPerHuge);
}

// ---- lies

TEST_F(Engines, ThatLieAreNotTakenWithoutAComparison) {
  for (const Fault fault : {Fault::kLie, Fault::kShort, Fault::kFlip}) {
    Job job = With({Faulty(fault)});
    EXPECT_FALSE(IsValid(job)) << NameOf(fault);
    job.verify = true;
    EXPECT_TRUE(IsValid(job));
  }
  Job job = With({{.kind = migrators::Kind::kNull}});
  EXPECT_FALSE(IsValid(job));
  job.expendable = true;
  EXPECT_TRUE(IsValid(job));
}

TEST_F(Engines, ThatLieAreFoundOutByVerify) {
  const Range small = world_.MapFilled(2 * kPagesPerHuge), huge = world_.MapFilledHuge(2);
  for (const Spec& spec : {Faulty(Fault::kLie), Faulty(Fault::kShort), Faulty(Fault::kFlip),
                           Spec{.kind = migrators::Kind::kNull}}) {
    const auto before = world_.Frames(small);
    Job job = With({spec});
    job.verify = true;
    const JobResult& result = world_.Run(job);
    EXPECT_EQ(result.pages_moved, (small.length + huge.length) / kPageBytes);
    EXPECT_TRUE(world_.Relocated(small, before));
    // One page of each batch; one huge page counts by its wrong parts.
    EXPECT_GE(result.copied_again, Of(spec.kind).batches);
    world_.CheckContent();
  }
}

// ---- late ones

TEST_F(Engines, ThatAreLateWriteToNoPageThatIsUsed) {
  const Range small = world_.MapFilled(4 * kPagesPerHuge), huge = world_.MapFilledHuge(2);
  for (const Fault fault : {Fault::kLate, Fault::kHang}) {
    const auto before = world_.Frames(small), before_huge = world_.Frames(huge);
    const JobResult& result = world_.Run(With({Faulty(fault)}));
    EXPECT_EQ(result.pages_moved, (small.length + huge.length) / kPageBytes) << NameOf(fault);
    EXPECT_TRUE(world_.Relocated(small, before));
    EXPECT_TRUE(world_.Relocated(huge, before_huge));
    EXPECT_GE(Of(migrators::Kind::kFault).late, 1u);
    EXPECT_GT(result.pages_retargeted, 0u);
    EXPECT_EQ(result.pages_by_cpu, result.pages_moved);
    world_.CheckContent();
  }
}

// What has the targets writes to them while the batch goes in.
TEST_F(Engines, ThatAreLateHaveTheirTargetsToThemselves) {
  const Range range = world_.MapFilled(kPagesPerHuge);
  const auto before = world_.Frames(range);
  world_.BeforeMove(2, [&] {
    for (uint64_t i = 0; i < world_.engine->slots[0].count; ++i)
      std::memset(reinterpret_cast<void*>(world_.engine->slots[0].folios[i].target), 0x77,
                  kPageBytes);
  });
  EXPECT_EQ(world_.Run(With({Faulty(Fault::kHang)})).pages_retargeted, kPagesPerHuge);
  EXPECT_TRUE(world_.Relocated(range, before));
}

TEST_F(Engines, ThatAreLateDoNotKeepOthersFromTheirPart) {
  const Range range = world_.MapFilled(2 * kPagesPerHuge);
  const auto before = world_.Frames(range);
  const JobResult& result =
      world_.Run(With({Faulty(Fault::kHang), {.kind = migrators::Kind::kThreads, .count = 1}}));
  EXPECT_EQ(result.pages_moved, 2 * kPagesPerHuge);
  EXPECT_EQ(result.pages_retargeted, kPagesPerHuge / 2);
  EXPECT_EQ(Of(migrators::Kind::kThreads).pages, kPagesPerHuge / 2);
  EXPECT_TRUE(world_.Relocated(range, before));
}

// Verify keeps originals in areas of their own, which a late engine may read.
TEST_F(Engines, ThatAreLateUnderVerify) {
  const Range range = world_.MapFilled(4 * kPagesPerHuge);
  const auto before = world_.Frames(range);
  Job job = With({Faulty(Fault::kLate)});
  job.verify = true;
  const JobResult& result = world_.Run(job);
  EXPECT_EQ(result.pages_moved, 4 * kPagesPerHuge);
  EXPECT_EQ(result.pages_compared, 4 * kPagesPerHuge);
  EXPECT_EQ(result.copied_again, 0u);
  EXPECT_TRUE(world_.Relocated(range, before));
}

// Where there is no memory for other targets the originals go back, as whole as they were.
TEST_F(Engines, ThatAreLateWithoutMemoryForOtherTargets) {
  const Range small = world_.MapFilled(kPagesPerHuge), huge = world_.MapFilledHuge(1);
  Job job = With({Faulty(Fault::kHang)});
  for (const Range range : {small, huge}) {
    world_.model.SetFile("/proc/zoneinfo", FreePages(99999));
    // (What was once found free is believed for a while: it is looked at anew for the second time.)
    world_.InWindow([&] { world_.model.SetFile("/proc/zoneinfo", FreePages(10)); });
    job.range_count = 1;
    job.ranges[0] = range;
    const JobResult& result = world_.Run(job);
    EXPECT_EQ(result.pages_not_moved, range.length / kPageBytes);
    EXPECT_EQ(world_.recorder.Count(range, Why::kNoTargetMemory), range.length / kPageBytes);
    EXPECT_EQ(result.pages_retargeted, 0u);
    world_.CheckContent();
  }
  EXPECT_TRUE(world_.WholeHuge(huge.start));
}

}  // namespace
}  // namespace drover::flow
