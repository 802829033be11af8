// Targets that are filled, and originals that are freed, while another batch is on its way; and
// originals that become targets.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "flow/table.h"
#include "flow/world.h"

namespace drover::flow {
namespace {

using namespace std::chrono_literals;

class Pipeline : public Flow {
 protected:
  // Between batches the mover waits, within bounds, until the helper has begun, has let go of what
  // it copied, and frees and fills no more: where the tests have company it may be without its CPU
  // for as long as a whole job takes.
  void LetTheHelperKeepUp() {
    constexpr int kNapsMost = 2000, kQuietNaps = 3;
    world_.recorder.ask = [&](const JobResult&) {
      uint64_t free_before = 0;
      for (int naps = 0, quiet = 0; naps < kNapsMost && quiet < kQuietNaps; ++naps) {
        std::this_thread::sleep_for(1ms);
        const uint64_t free = world_.model.FreePages(Node{0});
        const bool busy = world_.model.helpers() == 0 || EnginesHoldAddresses(*world_.engine);
        quiet = busy || free != free_before ? 0 : quiet + 1;
        free_before = free;
      }
      return Next::kGoOn;
    };
  }
  // Whoever maps places for a job takes them back.
  void ExpectNothingKept() {
    EXPECT_EQ(world_.engine->background, nullptr);
    EXPECT_TRUE(world_.engine->reused.pages.empty());
  }
};

TEST_F(Pipeline, MovesAllAndFillsAheadWhatComesLater) {
  constexpr uint64_t kSlots = 12;
  const Range range = world_.MapFilled(kSlots * kPagesPerHuge);
  const auto before = world_.Frames(range);
  const uint64_t free_before = world_.model.FreePages(Node{0});
  LetTheHelperKeepUp();
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.pages_moved, kSlots * kPagesPerHuge);
  EXPECT_TRUE(world_.Relocated(range, before));
  // The first batch in each of three places has nothing ready, nor have the last; nor has one
  // behind a batch of which a helper was kept from its CPU, as happens where the tests have
  // company.
  EXPECT_GE(result.pages_filled_ahead, (kSlots - 10) * kPagesPerHuge);
  EXPECT_EQ(world_.model.FreePages(Node{0}), free_before) << "memory of a job is left over";
  ExpectNothingKept();
}

TEST_F(Pipeline, MovesHugePagesWhole) {
  const Range range = world_.MapFilledHuge(12);
  const auto before = world_.Frames(range);
  LetTheHelperKeepUp();
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.moved_huge, range.length / kPageBytes);
  EXPECT_TRUE(world_.Relocated(range, before));
  EXPECT_GT(result.pages_filled_ahead, 0u);
  for (uint64_t slot = range.start; slot < range.end(); slot += kHugeBytes)
    EXPECT_TRUE(world_.WholeHuge(slot));
}

// Pages of two nodes, small and huge ones in turn: places change their node and kind.
TEST_F(Pipeline, FollowsTheTargetNodeAndTheKindOfPages) {
  for (int i = 0; i < 4; ++i) {
    world_.model.SetLocalNode(Node{i % 2});
    world_.MapFilled(5 * kPagesPerHuge);
    world_.MapFilledHuge(3);
  }
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.pages_moved, 4 * 8 * kPagesPerHuge);
  EXPECT_EQ(result.pages_not_moved, 0u);
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, 4 * 8 * kPagesPerHuge);
}

TEST_F(Pipeline, FillsNothingAheadOnTheWrongNode) {
  world_.MapFilled(12 * kPagesPerHuge);
  Job job = world_.WithHelper();
  job.engines[0].always = true;
  job.placement.same = false;
  for (int16_t& target : job.placement.target_of) target = 1;
  LetTheHelperKeepUp();
  EXPECT_EQ(world_.Run(job).pages_moved, 12 * kPagesPerHuge);
  EXPECT_GT(world_.result.pages_filled_ahead, 0u);
  for (const auto& [page, fate] : world_.recorder.fates) ASSERT_EQ(world_.NodeOf(page), 1);
}

// Places that were full, of which little was taken and nothing is made up for, because the end is
// near: what is left there is of the wrong node for what comes then.
TEST_F(Pipeline, LeavesNothingOfOneNodeToBatchesForAnother) {
  world_.model.SetLocalNode(Node{0});
  world_.MapFilled(12 * kPagesPerHuge);
  for (int i = 0; i < 3; ++i) world_.MapFilled(10);
  world_.model.SetLocalNode(Node{1});
  world_.MapFilled(2 * kPagesPerHuge);
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.pages_moved, 14 * kPagesPerHuge + 30);
}

// Wherever the helper may be at work a change of rights takes the mover long: it is faster by
// itself, which four batches with, and four without, twice, have shown.
TEST_F(Pipeline, IsLeftWhereItDoesNotPay) {
  constexpr uint64_t kSlots = 24;
  const Range range = world_.MapFilled(kSlots * kPagesPerHuge);
  const auto before = world_.Frames(range);
  const uint64_t free_before = world_.model.FreePages(Node{0});
  world_.model.SetHook([this](Call call, uint64_t) {
    if (call == Call::kProtect && !world_.engine->batch.alone) std::this_thread::sleep_for(20ms);
  });
  uint64_t kept = 0;  // between two batches
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.batches == 20) kept = free_before - world_.model.FreePages(Node{0});
    return Next::kGoOn;
  };
  const JobResult& result = world_.Run(world_.WithHelper());
  EXPECT_EQ(result.pages_moved, kSlots * kPagesPerHuge);
  EXPECT_EQ(result.batches_alone, 8u + kSlots - 16);
  EXPECT_LT(kept, kPagesPerHuge) << "what was filled ahead is still there";
  EXPECT_TRUE(world_.Relocated(range, before));
  world_.recorder.ask = nullptr;
  EXPECT_EQ(world_.Run(world_.WithHelper()).batches_alone, kSlots) << "that is known by now";
  EXPECT_EQ(world_.model.FreePages(Node{0}), free_before);
  ExpectNothingKept();
}

// What opens no window is no batch of the trial's.
TEST_F(Pipeline, BatchesThatMoveNothingTellNothing) {
  world_.MapFilled(2 * kPagesPerHuge);
  const Range shared = world_.MapFilled(24 * kPagesPerHuge);
  world_.app.Share(shared);
  bool any_alone = false;
  world_.recorder.ask = [&](const JobResult&) {
    any_alone = any_alone || world_.engine->batch.alone;
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(world_.WithHelper()).pages_moved, 2 * kPagesPerHuge);
  EXPECT_EQ(world_.recorder.Count(shared, Why::kShared), shared.length / kPageBytes);
  EXPECT_FALSE(any_alone);
}

// The helper loses its CPU while it fills, for longer than the mover has patience.
TEST_F(Pipeline, GoesOnWithoutAHelperThatDoesNotComeBack) {
  world_.MapFilled(12 * kPagesPerHuge);
  const pid_t mover = gettid();
  std::atomic<bool> kept = false, go_on = false;
  world_.model.SetHook([&](Call call, uint64_t) {
    if (call != Call::kAdvise || gettid() == mover || kept.exchange(true)) return;
    while (!go_on) std::this_thread::sleep_for(1ms);
  });
  std::thread later([&] {
    for (int i = 0; i < 5000 && !kept; ++i) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(std::chrono::nanoseconds(kErrandPatienceNs) + 500ms);
    go_on = true;
  });
  const JobResult& result = world_.Run(world_.WithHelper());
  later.join();
  EXPECT_TRUE(kept);
  EXPECT_EQ(result.pages_moved, 12 * kPagesPerHuge);
}

TEST_F(Pipeline, IsNotForAJobThatReuses) {
  world_.MapFilled(8 * kPagesPerHuge);
  Job job = world_.WithHelper();
  job.reuse = true;
  EXPECT_EQ(world_.Run(job).pages_filled_ahead, 0u);
  EXPECT_GT(world_.result.pages_reused, 0u);
}

class Reuse : public Pipeline {
 protected:
  Job Reusing() const {
    Job job = world_.ToSame();
    job.reuse = true;
    return job;
  }
};

TEST_F(Reuse, IsNoJobToAnotherNodeNorWithVerify) {
  Job job = Reusing();
  EXPECT_TRUE(IsValid(job));
  job.verify = true;
  EXPECT_FALSE(IsValid(job));
  job = world_.ToNode(1);
  job.reuse = true;
  EXPECT_FALSE(IsValid(job));
}

TEST_F(Reuse, PutsEachBatchIntoThePlaceOfTheOneBefore) {
  const Range range = world_.MapFilled(4 * kPagesPerHuge);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(Reusing());
  EXPECT_EQ(result.pages_moved, 4 * kPagesPerHuge);
  EXPECT_EQ(result.pages_reused, 3 * kPagesPerHuge);
  for (uint64_t page = range.start + kHugeBytes; page < range.end(); page += kPageBytes)
    ASSERT_EQ(world_.FrameOf(page), before.at(page - kHugeBytes));
  ExpectNothingKept();
}

TEST_F(Reuse, ServesHugePages) {
  const Range range = world_.MapFilledHuge(4);
  const auto before = world_.Frames(range);
  EXPECT_EQ(world_.Run(Reusing()).pages_reused, 3 * kPagesPerHuge);
  EXPECT_EQ(world_.result.moved_huge, 4 * kPagesPerHuge);
  for (uint64_t page = range.start + kHugeBytes; page < range.end(); page += kPageBytes)
    ASSERT_EQ(world_.FrameOf(page), before.at(page - kHugeBytes));
}

// Batches of other lengths, at other places in their page tables, with pages that are absent, and
// of both kinds.
TEST_F(Reuse, LosesNothingWhereBatchesAreNotAlike) {
  uint64_t pages = 0;
  for (const uint64_t count : {700, 3, 512, 40, 1500, 1, 90}) {
    const Range range = world_.Map(count);
    world_.Fill({range.start, (count + 1) / 2 * kPageBytes});
    if (count > 8) world_.Fill({range.start + (count - 3) * kPageBytes, 2 * kPageBytes});
    pages += (count + 1) / 2 + (count > 8 ? 2 : 0);
    world_.MapFilledHuge(1);
    pages += kPagesPerHuge;
  }
  for (const uint64_t batch_pages : {512, 100, 16}) {
    Job job = Reusing();
    job.batch_bytes = batch_pages * kPageBytes;
    EXPECT_EQ(world_.Run(job).pages_moved, pages) << batch_pages;
    for (uint32_t why = 0; why < kWhyCount; ++why)
      EXPECT_EQ(world_.result.not_moved_why[why], 0u) << why;
    ExpectNothingKept();
  }
  Job job = Reusing();
  job.max_stall_ns = 2'000'000;
  job.over_budget = true;  // (with a sanitizer all windows are long)
  EXPECT_EQ(world_.Run(job).pages_not_moved, 0u);
}

// Runs that wait for another try stand side by side, but need not be on one node.
TEST_F(Reuse, KeepsToTheNodeInLaterTriesToo) {
  const Range range = world_.MapFilled(64);
  for (uint64_t i = 0; i < 64; i += 16)
    world_.app.PlaceOn({range.start + i * kPageBytes, 8 * kPageBytes}, Node{1});
  world_.app.Pin(range);
  Job job = Reusing();
  job.batch_bytes = 16 * kPageBytes;
  job.mode = Mode::kSync;
  job.retry_for_ns = 10'000'000;
  world_.recorder.ask = [&](const JobResult& so_far) {
    if (so_far.rounds == 1) world_.app.Unpin(range);
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(job).pages_not_moved, 0u);
  for (uint64_t i = 0; i < 64; ++i)
    EXPECT_EQ(world_.NodeOf(range.start + i * kPageBytes), i % 16 < 8 ? 1 : 0) << i;
  world_.recorder.ask = nullptr;
}

// What a job leaves of one node is no target on another.
TEST_F(Reuse, KeepsToTheNode) {
  world_.model.SetLocalNode(Node{0});
  const Range zero = world_.MapFilled(2 * kPagesPerHuge);
  world_.model.SetLocalNode(Node{1});
  const Range one = world_.MapFilled(2 * kPagesPerHuge);
  EXPECT_EQ(world_.Run(Reusing()).pages_moved, 4 * kPagesPerHuge);
  EXPECT_EQ(world_.result.pages_reused, 2 * kPagesPerHuge);
  EXPECT_EQ(world_.NodeOf(zero.start), 0);
  EXPECT_EQ(world_.NodeOf(one.start), 1);
}

}  // namespace
}  // namespace drover::flow
