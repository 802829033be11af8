// What the application does while a batch is registered or away, and how the engine hears of it.
#include <atomic>
#include <chrono>
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

using namespace std::chrono_literals;

// Waits until `done`, in a hook on the mover, while the fault thread works. False: it never came.
bool Await(const std::function<bool()>& done) {
  for (int i = 0; i < 5000 && !done(); ++i) std::this_thread::sleep_for(1ms);
  return done();
}

// The fault thread of the next job is caught on its way to sleep and stays there while `held`, so
// that only the mover can hear an event; every other call goes to `act`.
void HoldFaultThread(World& world, const std::atomic<bool>& held, const World::Act& act) {
  world.model.SetHook([&held, act](Call call, uint64_t nth) {
    if (call == Call::kWaitForMessage)
      Await([&] { return !held; });
    else
      act(call, nth);
  });
}

TEST_F(Flow, AReaderOfAHoleWaitsAndThenReadsItsPage) {
  const Range range = world_.MapFilled(16);
  uint64_t touch = 0;
  world_.InWindow([&] {
    touch = world_.app.StartTouch(range.start + 5 * kPageBytes, false);
    EXPECT_FALSE(world_.app.Finished(touch)) << "it has read zeros";
  });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(world_.app.Wait(touch), ActionState::kDone);
  EXPECT_EQ(result.stalls.count, 1u);
  EXPECT_EQ(result.pages_moved, 16u);
}

TEST_F(Flow, AFirstTouchIsAnsweredWhileTheWindowIsOpen) {
  const Range range = world_.Map(16);
  const Range absent{range.start + 5 * kPageBytes, kPageBytes};
  world_.Fill({range.start, 5 * kPageBytes});
  world_.Fill({absent.end(), 10 * kPageBytes});
  world_.ExpectZeros(absent);
  world_.InWindow([&] {
    const uint64_t touch = world_.app.StartTouch(absent.start, true);
    EXPECT_TRUE(Await([&] { return world_.app.Finished(touch); }));
  });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.first_touches, 1u);
  EXPECT_EQ(result.pages_moved, 15u);
}

TEST_F(Flow, GatedCallsWaitForTheBatchBoundary) {
  world_.MapFilled(16);
  std::atomic<bool> entered = false;
  std::thread caller;
  world_.InWindow([&] {
    caller = std::thread([&] {
      uint32_t depth = 0;
      world_.gate.Enter(&depth);
      entered = true;
      world_.gate.Leave(&depth);
    });
    std::this_thread::sleep_for(50ms);
    EXPECT_FALSE(entered);
  });
  world_.Run(world_.ToSame());
  caller.join();
  EXPECT_TRUE(entered);
}

TEST_F(Flow, ABatchWaitsForACallThatIsInsideTheGate) {
  world_.MapFilled(16);
  uint32_t depth = 0;
  world_.gate.Enter(&depth);
  std::atomic<bool> left = false;
  std::thread caller([&] {
    std::this_thread::sleep_for(50ms);
    left = true;
    world_.gate.Leave(&depth);
  });
  world_.Before(Call::kRegister, 1, [&] { EXPECT_TRUE(left); });
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_moved, 16u);
  caller.join();
}

// The range is registered, the batch is not yet isolated: memory is unmapped, and other memory
// comes in its place. An engine that forgets the event isolates pages that nobody watches.
TEST_F(Flow, AnUnmapBehindTheRegistrationIsNotLost) {
  const Range range = world_.MapFilled(16);
  const Range replaced{range.start + 4 * kPageBytes, 4 * kPageBytes};
  uint64_t touch = 0;
  const uint64_t registers = world_.model.Calls(Call::kRegister);
  const uint64_t protects = world_.model.Calls(Call::kProtect);
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kRegister && nth == registers + 2) {  // the area, after the live range
      const uint64_t unmap = world_.app.StartMapOver(replaced);
      EXPECT_TRUE(Await([&] { return world_.app.Finished(unmap); }));
      world_.Fill(replaced);
    }
    if (call == Call::kProtect && nth == protects + 1)
      touch = world_.app.StartTouch(replaced.start, false);
  });
  Job job = world_.ToSame();
  job.range_count = 1;
  job.ranges[0] = range;
  world_.Run(job);
  EXPECT_EQ(world_.app.Wait(touch), ActionState::kDone);
  EXPECT_EQ(world_.recorder.Count(replaced, Outcome::kGone), 4u);
}

// An event that is there is carried out before the window opens: no MOVE is refused because of it.
TEST_F(Flow, EventsAreHeardBeforeTheMoveOut) {
  const Range range = world_.MapFilled(16);
  const Range discarded{range.start + 8 * kPageBytes, kPageBytes};
  world_.ExpectZeros(discarded);
  std::atomic<bool> held = true;
  const uint64_t moves = world_.model.Calls(Call::kMove);
  const uint64_t looks = world_.model.Calls(Call::kReadEntries);
  HoldFaultThread(world_, held, [&](Call call, uint64_t nth) {
    // At the last look before the move-out.
    if (call == Call::kReadEntries && nth == looks + 1) world_.app.StartDiscard(discarded);
    if (call == Call::kMove && nth == moves + 2) held = false;
  });
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.model.Calls(Call::kMove) - moves, 4u) << "two runs, out and in";
  EXPECT_EQ(world_.recorder.Count(discarded, Outcome::kGone), 1u);
}

// The same before the move-in.
TEST_F(Flow, EventsAreHeardBeforeTheMoveIn) {
  const Range range = world_.MapFilled(16);
  const Range discarded{range.start + 8 * kPageBytes, kPageBytes};
  world_.ExpectZeros(discarded);
  std::atomic<bool> held = true;
  const uint64_t moves = world_.model.Calls(Call::kMove);
  const uint64_t protects = world_.model.Calls(Call::kProtect);
  HoldFaultThread(world_, held, [&](Call call, uint64_t nth) {
    if (call == Call::kProtect && nth == protects + 1) world_.app.StartDiscard(discarded);
    if (call == Call::kMove && nth == moves + 2) held = false;  // the first one in
  });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(world_.model.Calls(Call::kMove) - moves, 3u) << "one run out, two in";
  EXPECT_EQ(result.pages_moved, 15u);
}

TEST_F(Flow, APageDiscardedInTheWindowDoesNotComeBack) {
  const Range range = world_.MapFilled(16);
  const Range discarded{range.start + 8 * kPageBytes, kPageBytes};
  world_.ExpectZeros(discarded);
  world_.InWindow([&] {
    const uint64_t discard = world_.app.StartDiscard(discarded);
    EXPECT_TRUE(Await([&] { return world_.app.Finished(discard); }));
  });
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(discarded, Outcome::kGone), 1u);
}

// The event has been read, the kernel has not discarded yet, and the job is over: the next job must
// not carry the page to safety.
TEST_F(Flow, APageThatIsBeingDiscardedIsNotIsolatedByALaterJob) {
  const Range range = world_.MapFilled(16);
  const Range discarded{range.start + 8 * kPageBytes, kPageBytes};
  constexpr uint64_t kLong = 1'000'000;
  world_.model.SetDiscardDelay(kLong);
  uint64_t discard = 0;
  world_.Before(Call::kRegister, 2, [&] { discard = world_.app.StartDiscard(discarded); });
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(discarded, Outcome::kMoved), 0u);
  // In the next job's window, before anything goes back.
  world_.InWindow([&] {
    world_.model.FinishDiscards();
    EXPECT_TRUE(world_.app.Finished(discard));
  });
  world_.ExpectZeros(discarded);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(discarded, Outcome::kMoved), 0u);
  // Once it has been seen absent it is a page like any other.
  world_.model.SetDiscardDelay(0);
  world_.Run(world_.ToSame());
  world_.Fill(discarded);
  EXPECT_EQ(world_.Run(world_.ToSame()).pages_moved, 16u);
}

// A write through /proc/PID/mem or ptrace that is under way: it ends before anything is copied.
TEST_F(Flow, AWriteFromOutsideIsWaitedFor) {
  const Range range = world_.MapFilled(16);
  const uint64_t word = range.start + 5 * kPageBytes;
  const uint64_t before = *world_.app.ReadWord(word);
  const auto fresh = static_cast<std::byte>(~before & 0xff);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kMove && nth == moves + 1) world_.app.StartForeignWrite(word, fresh, true);
    if (call == Call::kMove && nth == moves + 2) world_.app.FinishForeignWrites();  // at the latest
  });
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(*world_.app.ReadWord(word), (before & ~uint64_t{0xff}) | static_cast<uint64_t>(fresh));
  world_.Fill({range.start + 5 * kPageBytes, kPageBytes});
}

TEST_F(Flow, TheMoverKeepsItsCpuInTheWindowAndNoLonger) {
  world_.MapFilled(16);
  uint64_t seen = 0;
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call != Call::kMove) return;
    ++seen;
    EXPECT_TRUE(world_.model.pinned());
  });
  world_.Run(world_.ToSame());
  EXPECT_EQ(seen, 2u);
  EXPECT_FALSE(world_.model.pinned());
}

}  // namespace
}  // namespace drover::flow
