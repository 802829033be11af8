// The self-test before the first job on a kernel that is newer than the newest tested.
#include "flow/self_test.h"

#include "flow/world.h"

namespace drover::flow {
namespace {

TEST(SelfTest, PassesAndLeavesNothingBehind) {
  World world;
  EXPECT_EQ(SelfTest(world.model), SelfTestStep::kNone);
  world.CheckAll();
  EXPECT_GT(world.model.Calls(Call::kMove), 6u) << "the huge page was left out";
}

// A kernel that refuses one MOVE, or carries it out and denies it, or moves a part, does not pass.
TEST(SelfTest, FailsWhateverMoveGoesWrong) {
  World first;
  (void)SelfTest(first.model);
  const uint64_t moves = first.model.Calls(Call::kMove);
  for (uint64_t nth = 1; nth <= moves; ++nth) {
    uint64_t calls_before = 0;
    {  // where in the order of all calls it stands
      World world;
      uint64_t all = 0;
      world.model.SetHook([&](Call call, uint64_t count) {
        ++all;
        if (call == Call::kMove && count == nth) calls_before = all;
      });
      (void)SelfTest(world.model);
    }
    for (const auto manner :
         {FailingKernel::Manner::kNotDone, FailingKernel::Manner::kDoneAndDenied}) {
      World world;
      world.kernel.FailCall(calls_before, Errno::kBusy, manner);
      EXPECT_NE(SelfTest(world.kernel), SelfTestStep::kNone) << nth;
      world.kernel.FailCall(0, Errno::kOk);
      world.CheckAll();
    }
  }
}

TEST_F(Flow, OnAnUnknownKernelTheFirstJobTestsIt) {
  const Range range = world_.MapFilled(16);
  world_.engine->self_test_due = true;
  EXPECT_EQ(world_.Run(world_.ToSame()).moved_own_path, 16u);
  EXPECT_FALSE(world_.engine->self_test_due);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 16u);
}

TEST_F(Flow, OnAKernelThatFailsTheTestTheOwnPathIsNeverTaken) {
  const Range range = world_.MapFilled(16);
  world_.engine->self_test_due = true;
  world_.model.DenyNextMove();
  for (int round = 0; round < 2; ++round) {
    const JobResult& result = world_.Run(world_.ToSame());
    EXPECT_EQ(result.own_path_trouble, Trouble::kSelfTest);
    EXPECT_EQ(result.own_path_detail, static_cast<uint32_t>(SelfTestStep::kOut));
    EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 0u);
  }
  EXPECT_EQ(world_.Run(world_.ToNode(1)).moved_kernel_path, 16u);
}

}  // namespace
}  // namespace drover::flow
