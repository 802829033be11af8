// Kernel call N fails, for every N: whatever the kernel refuses once, the memory is right, the
// ledger adds up, nothing stays registered, and the job ends.
#include <mutex>

#include "flow/world.h"

namespace drover::flow {
namespace {

using Manner = FailingKernel::Manner;

// The errors that a call of this kind can give while its arguments are right.
std::vector<Errno> ErrorsOf(Call call) {
  switch (call) {
    case Call::kRegister:
      return {Errno::kNoMemory, Errno::kBusy, Errno::kInvalid};
    case Call::kUnregister:
      return {Errno::kNoMemory, Errno::kInvalid};
    case Call::kMove:
      return {Errno::kAgain, Errno::kBusy, Errno::kExists, Errno::kInvalid, Errno::kNoMemory};
    case Call::kCopyPage:
    case Call::kFill:
    case Call::kZeroPage:
      return {Errno::kAgain, Errno::kNoMemory};
    case Call::kReadMessage:
      return {Errno::kAgain, Errno::kTooManyFiles};
    case Call::kAdvise:
      return {Errno::kNoMemory, Errno::kInvalid, Errno::kAgain};
    case Call::kNextMapping:
      return {Errno::kNoMemory, Errno::kNoProcess};
    case Call::kRobustListOf:
      return {Errno::kNoProcess, Errno::kPerm};
    case Call::kReadFile:
    case Call::kVisitDescriptors:
      return {Errno::kNoEntry, Errno::kNoMemory};
    default:
      return {Errno::kNoMemory};
  }
}

// FailingKernel does not count these.
bool Counts(Call call) {
  return call != Call::kWaitForMessage && call != Call::kUnmap;
}

struct Case {
  const char* name;
  bool to_other_node;
  bool protect_in_window;
  bool verify = false;
  bool ahead = false;  // copied ahead of the window
  bool reuse = false;
  bool fills = false;  // targets are made as they are copied to
};
void PrintTo(const Case& each, std::ostream* out) {
  *out << each.name;
}

// About 40 small pages, one huge one, a control block and a mapping for the kernel path.
struct Scene {
  explicit Scene(const Case& what)
      : world(what.verify ? World::RoomForRings() : World::Nodes(2)),
        to_other_node(what.to_other_node) {
    small = world.MapFilled(40);
    huge = world.MapFilledHuge(1);
    locked = world.MapFilled(4);
    world.app.Protect(locked, true, false, false);
    world.model.AddThread(1, small.start + 3 * kPageBytes + 0x2e0);
    protect = what.protect_in_window;
    verify = what.verify;
    ahead = what.ahead;
    reuse = what.reuse;
    fills = what.fills;
  }
  void Run() {
    const uint64_t protects = world.model.Calls(Call::kProtect);
    world.model.SetHook([this, protects](Call call, uint64_t nth) {
      {  // the fault thread calls, too
        const std::lock_guard lock(mutex);
        if (Counts(call)) calls.push_back(call);
      }
      if (!protect || call != Call::kProtect || nth != protects + 1) return;
      world.app.Protect({small.start + 8 * kPageBytes, 4 * kPageBytes}, true, false, false);
    });
    Job job = to_other_node ? world.ToNode(1) : world.ToSame();
    job.mode = Mode::kSync;  // all rounds, without their pauses
    job.retry_for_ns = 0;
    job.verify = verify;
    job.reuse = reuse;
    if (fills) job.copy_through = CopyThrough::kFill;
    if (ahead) job.precopy = Precopy::kAlways;
    world.Run(job);
  }

  World world;
  bool to_other_node, protect = false, verify = false, ahead = false, reuse = false, fills = false;
  Range small, huge, locked;
  std::mutex mutex;
  std::vector<Call> calls;
};

class CallFails : public testing::TestWithParam<Case> {};

INSTANTIATE_TEST_SUITE_P(Jobs, CallFails,
                         testing::Values(Case{"same", false, false}, Case{"other", true, false},
                                         Case{"ladder", false, true},
                                         Case{"ladder_other", true, true},
                                         Case{"ahead", true, false, false, true},
                                         Case{"reuse", false, true, false, false, true},
                                         Case{"fills", true, true, false, false, false, true}),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(CallFails, EveryOne) {
  Scene first(GetParam());
  first.Run();
  first.world.CheckAll();
  ASSERT_GT(first.calls.size(), 20u);
  for (uint64_t nth = 1; nth <= first.calls.size(); ++nth) {
    const Call call = first.calls[nth - 1];
    for (const Errno error : ErrorsOf(call)) {
      SCOPED_TRACE("call " + std::to_string(nth) + " of kind " +
                   std::to_string(static_cast<int>(call)) + " answers " +
                   std::to_string(static_cast<int>(error)));
      Scene scene(GetParam());
      scene.world.kernel.FailCall(nth, error);
      scene.Run();
      // A walk that could not be carried on must not look like one that found nothing more.
      const JobResult& result = scene.world.result;
      if (result.pages_requested < first.world.result.pages_requested) {
        EXPECT_NE(result.ended_by, Trouble::kNone);
      }
      scene.world.kernel.FailCall(0, Errno::kOk);
      scene.Run();  // what could not be freed must do no harm to the next job
      if (call == Call::kAdvise)
        scene.world.CheckAllButAreas();
      else
        scene.world.CheckAll();
    }
  }
}

// Memory is short for a while: a registration must not be left behind.
TEST_P(CallFails, NoUnregistrationForAWhile) {
  Scene first(GetParam());
  first.Run();
  uint64_t tried = 0;
  for (uint64_t nth = 1; nth <= first.calls.size(); ++nth) {
    if (first.calls[nth - 1] != Call::kUnregister) continue;
    SCOPED_TRACE("call " + std::to_string(nth));
    Scene scene(GetParam());
    constexpr uint64_t kMore = 8;
    scene.world.kernel.FailCall(nth, Errno::kNoMemory, Manner::kNotDone, kMore);
    scene.Run();
    scene.world.kernel.FailCall(0, Errno::kOk);
    scene.world.CheckAll();
    ++tried;
  }
  EXPECT_GT(tried, 1u);
}

TEST_P(CallFails, EveryMoveIsCarriedOutAndDenied) {
  Scene first(GetParam());
  first.Run();
  for (uint64_t nth = 1; nth <= first.calls.size(); ++nth) {
    if (first.calls[nth - 1] != Call::kMove) continue;
    SCOPED_TRACE("call " + std::to_string(nth));
    Scene scene(GetParam());
    scene.world.kernel.FailCall(nth, Errno::kExists, Manner::kDoneAndDenied);
    scene.Run();
    scene.world.kernel.FailCall(0, Errno::kOk);
    scene.world.CheckAll();
  }
}

// The verifier has memory of its own, which is watched like the application's. (A job keeps its
// originals for a while: not every call, then.)
TEST(CallFailsUnderVerify, WhateverWatchesAndUnwatches) {
  const Case verify = {"verify", false, false, true};
  Scene first(verify);
  first.Run();
  ASSERT_GT(first.world.result.pages_compared, 0u);
  uint64_t tried = 0;
  for (uint64_t nth = 1; nth <= first.calls.size(); ++nth) {
    const Call call = first.calls[nth - 1];
    if (call != Call::kRegister && call != Call::kUnregister) continue;
    SCOPED_TRACE("call " + std::to_string(nth));
    Scene scene(verify);
    scene.world.kernel.FailCall(nth, Errno::kNoMemory);
    scene.Run();
    scene.world.kernel.FailCall(0, Errno::kOk);
    scene.world.CheckAll();
    ++tried;
  }
  EXPECT_GT(tried, 4u);
}

}  // namespace
}  // namespace drover::flow
