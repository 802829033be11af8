// What is sorted out before the window opens: what would refuse inside it, what must stay whole,
// and what the kernel writes to by itself.
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

// Every refusal inside a window lengthens it, so not one MOVE is spent on pages that the page table
// shows as shared.
TEST_F(Flow, SharedPagesAreSortedOutBeforeTheWindow) {
  const Range range = world_.MapFilled(32);
  const uint64_t child = world_.app.Share(range);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(range, Why::kShared), 32u);
  EXPECT_EQ(world_.model.Calls(Call::kMove), moves);
  world_.app.EndChild(child);
}

// Mapped once, and still refused until it is written to: the page table does not tell.
TEST_F(Flow, PagesWhoseChildIsGoneAreMended) {
  const Range range = world_.MapFilled(600);
  world_.app.EndChild(world_.app.Share(range));
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 600u);
  EXPECT_EQ(result.rounds, 0u) << "they need no wait";
  EXPECT_TRUE(world_.Relocated(range, before));
  // With a kernel path at hand none is left to it either.
  world_.app.EndChild(world_.app.Share(range));
  EXPECT_EQ(world_.Run(world_.ToNode(1)).moved_own_path, 600u);
}

// Each refusal lengthens the window of the page that is away; what this window does not come to,
// another one does.
TEST_F(Flow, RefusalsInOneWindowAreBounded) {
  const Range range = world_.MapFilled(64);
  const Range pinned{range.start + kPageBytes, 62 * kPageBytes};
  world_.app.Pin(pinned);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  uint64_t moves_in_first_window = 0;
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call == Call::kProtect && moves_in_first_window == 0)
      moves_in_first_window = world_.model.Calls(Call::kMove) - moves;
  });
  world_.Run(world_.ToSame());
  EXPECT_GT(moves_in_first_window, kRefusalsPerWindowMax);
  EXPECT_LE(moves_in_first_window, kRefusalsPerWindowMax + 2);
  EXPECT_EQ(world_.recorder.Count(pinned, Why::kBusy), 62u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 2u);
  world_.app.Unpin(pinned);
}

// With no page away nobody waits for one, so that more may refuse.
TEST_F(Flow, PagesThatAreAllPinnedAreAllTried) {
  const Range range = world_.MapFilled(64);
  world_.app.Pin(range);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(range, Why::kBusy), 64u);
  world_.app.Unpin(range);
}

// One refusal says it of all pages of a locked mapping; what is known to be locked opens no window.
TEST_F(Flow, ALockedMappingIsNamedAsAWhole) {
  World::MapOptions options;
  options.locked = true;
  const Range range = world_.MapFilled(64, options);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(range, Why::kLocked), 64u);
  EXPECT_LE(world_.model.Calls(Call::kMove) - moves, 64u);
  world_.model.SetFile("/proc/self/status", "VmLck:\t     256 kB\n");
  const uint64_t moves_before = world_.model.Calls(Call::kMove);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.model.Calls(Call::kMove), moves_before);
  Job plan = world_.ToSame();
  plan.plan_only = true;
  EXPECT_EQ(world_.Run(plan).moved_own_path, 0u);
}

TEST_F(Flow, OnePinnedPageIsToldApartFromItsNeighbours) {
  const Range range = world_.MapFilled(64);
  const Range pinned{range.start + 20 * kPageBytes, kPageBytes};
  world_.app.Pin(pinned);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(pinned, Why::kBusy), 1u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 63u);
  world_.app.Unpin(pinned);
}

// Small pages became a huge one (khugepaged) between the look at them and the registration.
TEST_F(Flow, AHugePageThatCameMeanwhileStaysWhole) {
  World::MapOptions options;
  options.offset = 0;
  const Range slot = world_.MapFilled(kPagesPerHuge, options);
  world_.Before(Call::kRegister, 1, [&] {
    world_.app.StartDiscard(slot);
    world_.app.AdviseHuge(slot);
    world_.Fill(slot);
  });
  world_.Run(world_.ToSame());
  EXPECT_TRUE(world_.WholeHuge(slot.start));
}

// A huge page became the huge zero page meanwhile; moving one corrupts page tables.
TEST_F(Flow, AHugeZeroPageIsNeverHandedToMove) {
  const Range slot = world_.MapFilledHuge(1);
  world_.Before(Call::kRegister, 1, [&] {
    world_.app.StartDiscard(slot);
    world_.app.ReadWord(slot.start);
  });
  world_.ExpectZeros(slot);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(slot, Outcome::kMoved), 0u);
}

TEST_F(Flow, WholeHugePagesStayHuge) {
  const Range range = world_.MapFilledHuge(3);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_moved, 3 * kPagesPerHuge);
  EXPECT_TRUE(world_.Relocated(range, before));
  for (uint64_t i = 0; i < 3; ++i) EXPECT_TRUE(world_.WholeHuge(range.start + i * kHugeBytes));
}

// Of three huge pages in one batch the program throws a part of the first away, after they were
// looked at and before they are moved out. No move begins in the middle of one.
TEST_F(Flow, AHugePageThatLosesAPartTakesNoOtherWithIt) {
  const Range range = world_.MapFilledHuge(3);
  const Range part{range.start + 100 * kPageBytes, kPageBytes};
  bool looked = false, discarded = false;
  const auto mover = std::this_thread::get_id();
  world_.model.SetHook([&](Call call, uint64_t) {
    if (std::this_thread::get_id() != mover || discarded) return;
    if (call == Call::kRegister) looked = true;  // the next messages are read before the move-out
    if (call != Call::kReadMessage || !looked) return;
    discarded = true;
    world_.app.StartDiscard(part);
  });
  Job job = world_.ToSame();
  job.batch_bytes = 3 * kHugeBytes;
  world_.Run(job);
  EXPECT_TRUE(discarded);
  EXPECT_EQ(world_.recorder.Count({range.start, kHugeBytes}, Outcome::kMoved), kPagesPerHuge - 1)
      << "what is left of the first, as small pages";
  world_.ExpectZeros(part);
  EXPECT_EQ(world_.recorder.Count({range.start + kHugeBytes, 2 * kHugeBytes}, Outcome::kMoved),
            2 * kPagesPerHuge);
  for (uint64_t i = 1; i < 3; ++i) EXPECT_TRUE(world_.WholeHuge(range.start + i * kHugeBytes));
}

TEST_F(Flow, ARequestThatCutsAHugePageLeavesIt) {
  const Range range = world_.MapFilledHuge(2);
  Job job = world_.ToSame();
  job.range_count = 1;
  job.ranges[0] = {range.start + kPageBytes, range.length - kPageBytes};
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(range, Why::kPartOfHuge), kPagesPerHuge - 1);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), kPagesPerHuge);
  EXPECT_TRUE(world_.WholeHuge(range.start));
}

TEST_F(Flow, TheEnginesOwnMemoryIsNoMatterOfTheJob) {
  const Range range = world_.MapFilled(16);
  const Range own{range.start + 4 * kPageBytes, 8 * kPageBytes};
  AddOwn(*world_.engine, own);
  const auto before = world_.Frames(own);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.pages_requested, 8u);
  EXPECT_EQ(result.pages_moved, 8u);
  EXPECT_EQ(world_.Frames(own), before);
}

// The kernel writes there at a thread's exit and gives up silently when the page is away.
TEST_F(Flow, ControlBlocksStayWhereTheyAre) {
  const Range range = world_.MapFilled(16);
  const Range block{range.start + 3 * kPageBytes, kPageBytes};
  world_.model.AddThread(1, block.start + 0x2e0);
  const auto before = world_.Frames(block);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.Frames(block), before);
  EXPECT_EQ(world_.recorder.Count(block, Why::kControlBlock), 1u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 15u);
}

// pthread_create has returned, and the thread has not yet told the kernel its robust list.
TEST_F(Flow, TheControlBlockOfAThreadThatWasJustMadeStays) {
  const Range range = world_.MapFilled(16);
  const Range block{range.start + 5 * kPageBytes, kPageBytes};
  world_.young.Add(block.start);
  const auto before = world_.Frames(block);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.Frames(block), before);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 15u);
}

// It has dropped its robust list already, and the kernel has not yet told the thread that joins it.
TEST_F(Flow, TheControlBlockOfAThreadThatIsEndingStays) {
  const Range range = world_.MapFilled(16);
  const Range block{range.start + 5 * kPageBytes, kPageBytes};
  world_.model.AddThread(1, block.start + 0x2e0);
  Job job = world_.ToSame();
  job.batch_bytes = 2 * kPageBytes;
  uint64_t asked = 0;
  world_.recorder.ask = [&](const JobResult&) {
    if (++asked == 2) world_.model.AddThread(1, 0);  // of its own, before the batch with its block
    return Next::kGoOn;
  };
  const auto before = world_.Frames(block);
  world_.Run(job);
  EXPECT_EQ(world_.Frames(block), before);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 15u);
}

}  // namespace
}  // namespace drover::flow
