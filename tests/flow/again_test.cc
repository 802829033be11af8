// Rounds of tries after the walk, for what was busy: how many there are, and what they find.
#include "flow/world.h"

namespace drover::flow {
namespace {

Job InMode(Job job, Mode mode, uint64_t retry_for_ns = 10'000'000) {
  job.mode = mode;
  job.retry_for_ns = retry_for_ns;
  return job;
}

TEST_F(Flow, WhatIsPinnedForAMomentMovesInALaterRound) {
  const Range range = world_.MapFilled(64);
  const Range pinned{range.start + 20 * kPageBytes, 3 * kPageBytes};
  world_.app.Pin(pinned);
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 2) world_.app.Unpin(pinned);
    return Next::kGoOn;
  };
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.rounds, 2u);
  EXPECT_EQ(result.pages_moved, 64u);
  EXPECT_TRUE(world_.Relocated(range, before));
}

// A page that answers busy is asked once, and again after it has been written to, which mends what
// a fork has left; then async has no more.
TEST_F(Flow, AsyncNeverRetries) {
  const Range range = world_.MapFilled(1);
  world_.app.Pin(range);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  const JobResult& result = world_.Run(InMode(world_.ToSame(), Mode::kAsync));
  EXPECT_EQ(result.rounds, 0u);
  EXPECT_EQ(world_.recorder.Count(range, Why::kBusy), 1u);
  EXPECT_EQ(world_.model.Calls(Call::kMove) - moves, 2u);
  world_.app.Unpin(range);
}

TEST_F(Flow, EveryModeHasItsRounds) {
  const Range range = world_.MapFilled(4);
  world_.app.Pin(range);
  EXPECT_EQ(world_.Run(InMode(world_.ToSame(), Mode::kSyncLight)).rounds, kRoundsSyncLight);
  EXPECT_EQ(world_.recorder.Count(range, Why::kBusy), 4u);
  EXPECT_EQ(world_.Run(InMode(world_.ToSame(), Mode::kSync)).rounds, kRoundsSync);
  EXPECT_EQ(world_.recorder.Count(range, Why::kBusy), 4u);
  world_.app.Unpin(range);
}

// The rounds of sync are spread over the time that it is given, and end with it.
TEST_F(Flow, SyncTakesTheTimeThatItIsGiven) {
  const Range range = world_.MapFilled(4);
  world_.app.Pin(range);
  constexpr uint64_t kGivenNs = 127'000'000;
  uint64_t first_ns = 0, last_ns = 0;
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 1 && first_ns == 0) first_ns = world_.kernel.NowNs();
    if (so_far.rounds == kRoundsSync) last_ns = world_.kernel.NowNs();
    return Next::kGoOn;
  };
  world_.Run(InMode(world_.ToSame(), Mode::kSync, kGivenNs));
  // Before the last pause begins 63 parts of 127 have gone by.
  EXPECT_GE(last_ns - first_ns, kGivenNs / 127 * 63);
  EXPECT_GE(world_.result.wall_ns, kGivenNs);
  world_.app.Unpin(range);
}

TEST_F(Flow, WhereNothingWasBusyThereIsNoRound) {
  const Range range = world_.MapFilled(8);
  EXPECT_EQ(world_.Run(InMode(world_.ToSame(), Mode::kSync)).rounds, 0u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 8u);
}

TEST_F(Flow, WhatIsUnmappedBeforeItsNextTryIsGone) {
  const Range range = world_.MapFilled(16), other = world_.MapFilled(16);
  world_.app.Pin(range);
  world_.app.Pin(other);
  const Range gone{range.start, 6 * kPageBytes};
  world_.recorder.ask = [&, done = false](const JobResult& so_far) mutable {
    if (so_far.rounds == 0 || done) return Next::kGoOn;
    done = true;
    world_.app.Unpin(range);
    world_.app.Unpin(other);
    world_.app.StartUnmap(gone);
    world_.app.StartDiscard(other);
    return Next::kGoOn;
  };
  world_.ExpectNothing(gone);
  world_.ExpectZeros(other);
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(gone, Outcome::kGone), 6u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 10u);
  EXPECT_EQ(world_.recorder.Count(other, Outcome::kGone), 16u);
}

// Something else has come in its place, that nobody asked for.
TEST_F(Flow, WhatCameInItsPlaceIsLeftAlone) {
  const Range range = world_.MapFilled(8);
  world_.app.Pin(range);
  Range other;
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 0 || !other.empty()) return Next::kGoOn;
    world_.app.Unpin(range);
    world_.app.StartUnmap(range);
    World::MapOptions shared;
    shared.shared = shared.file = true;
    shared.offset = range.start % kHugeBytes;
    other = {world_.app.Map(range.length, shared), range.length};
    world_.Fill(other);
    return Next::kGoOn;
  };
  world_.Run(world_.ToNode(1));
  EXPECT_EQ(other.start, range.start) << "the model has put it elsewhere: the test shows nothing";
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kGone), 8u);
  EXPECT_EQ(world_.NodeOf(other.start), 0);
}

TEST_F(Flow, SmallAndHugePagesInOneBatchAreTriedApart) {
  World::MapOptions options;
  options.huge_advised = true;
  options.offset = 0;
  // Small pages up to the border of a huge one: the first slot is not touched as a whole.
  const Range all = world_.Map(2 * kPagesPerHuge, options);
  world_.app.AdviseHuge(all);
  const Range huge{all.start + kHugeBytes, kHugeBytes};
  world_.Fill(huge);
  const Range small{all.start + kHugeBytes - 4 * kPageBytes, 4 * kPageBytes};
  world_.Fill(small);
  world_.app.Pin(small);
  world_.app.Pin(huge);
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds != 1) return Next::kGoOn;
    world_.app.Unpin(small);
    world_.app.Unpin(huge);
    return Next::kGoOn;
  };
  Job job = world_.ToSame();
  job.batch_bytes = 4 * kHugeBytes;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(huge, Outcome::kMoved), kPagesPerHuge);
  EXPECT_EQ(world_.recorder.Count(small, Outcome::kMoved), 4u);
  EXPECT_EQ(world_.result.rounds, 1u);
}

// The process ends in a pause.
TEST_F(Flow, AProcessThatEndsInAPauseHasVanished) {
  const Range range = world_.MapFilled(4);
  world_.app.Pin(range);
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds > 0) world_.kernel.SetProcessGone(true);
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(world_.ToSame()).ended_by, Trouble::kTargetVanished);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kNotMoved), 4u);
  world_.kernel.SetProcessGone(false);
  world_.app.Unpin(range);
}

// One mapping has become two of different rights; no batch reaches over the border.
TEST_F(Flow, AMappingThatWasCutMeanwhileIsTriedInParts) {
  const Range range = world_.MapFilled(16);
  const Range read_only{range.start, 8 * kPageBytes};
  world_.app.Pin(range);
  world_.recorder.ask = [&, done = false](const JobResult& so_far) mutable {
    if (so_far.rounds == 0 || done) return Next::kGoOn;
    done = true;
    world_.app.Unpin(range);
    world_.app.Protect(read_only, true, false, false);
    return Next::kGoOn;
  };
  world_.Run(world_.ToSame());
  EXPECT_EQ(world_.recorder.Count(read_only, Why::kRights), 8u);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), 8u);
}

TEST_F(Flow, AStopInThePauseBooksWhatWaited) {
  const Range range = world_.MapFilled(16);
  const Range pinned{range.start, 4 * kPageBytes};
  world_.app.Pin(pinned);
  world_.recorder.ask = [&](const JobResult& so_far) {
    return so_far.rounds == 0 ? Next::kGoOn : Next::kStop;
  };
  const JobResult& result = world_.Run(InMode(world_.ToSame(), Mode::kSync, 600'000'000'000));
  EXPECT_EQ(result.ended_by, Trouble::kCancelled);
  EXPECT_EQ(result.pages_requested, 16u);
  EXPECT_EQ(world_.recorder.Count(pinned, Why::kBusy), 4u);
  world_.app.Unpin(pinned);
}

TEST_F(Flow, HugePagesThatWereBusyMoveWhole) {
  const Range range = world_.MapFilledHuge(3);
  const Range pinned{range.start + kHugeBytes, kHugeBytes};
  world_.app.Pin(pinned);
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 1) world_.app.Unpin(pinned);
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(world_.ToSame()).moved_huge, 3 * kPagesPerHuge);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_TRUE(world_.WholeHuge(range.start + i * kHugeBytes));
}

TEST_F(Flow, WhatTheKernelPathFoundBusyIsTriedAgain) {
  const Range range = world_.MapFilled(16);
  const Range pinned{range.start, 4 * kPageBytes};
  world_.app.Pin(pinned);
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 1) world_.app.Unpin(pinned);
    return Next::kGoOn;
  };
  Job job = world_.ToNode(1);
  job.own_path = false;
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 16u);
  EXPECT_EQ(world_.result.rounds, 1u);
  EXPECT_EQ(world_.NodeOf(range.start), 1);
}

// More runs than are put aside: those beyond are told at once.
TEST_F(Flow, WhatIsPutAsideIsBounded) {
  constexpr uint64_t kRuns = kAgainRunsMax + 100;
  const Range range = world_.Map(2 * kRuns);
  for (uint64_t i = 0; i < kRuns; ++i) {
    const Range page{range.start + 2 * i * kPageBytes, kPageBytes};
    world_.Fill(page);
    world_.app.Pin(page);
  }
  uint64_t told = 0;
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds <= 1) told = so_far.pages_not_moved;
    return Next::kGoOn;
  };
  const JobResult& result = world_.Run(InMode(world_.ToSame(), Mode::kSync, 0));
  EXPECT_EQ(told, 100u);
  EXPECT_EQ(result.pages_not_moved, kRuns);
  for (uint64_t i = 0; i < kRuns; ++i)
    world_.app.Unpin({range.start + 2 * i * kPageBytes, kPageBytes});
}

}  // namespace
}  // namespace drover::flow
