// The kernel path: what the own path cannot take, in chunks, and what became of each page.
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "flow/world.h"

namespace drover::flow {
namespace {

// move_pages(2) ends at the first target node of which a page is refused; the pages of the other
// targets in the same chunk have not been tried then.
TEST_F(Flow, OnePinnedPageDoesNotKeepOtherTargetsBack) {
  const Range to_one = world_.MapFilled(8), to_zero = world_.MapFilled(8);
  world_.app.PlaceOn(to_zero, Node{1});
  world_.app.Pin({to_one.start, kPageBytes});
  Job job = world_.ToNode(1);
  job.own_path = false;
  job.placement.target_of[1] = 0;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(to_one, Outcome::kMoved), 7u);
  EXPECT_EQ(world_.recorder.Count(to_zero, Outcome::kMoved), 8u);
  world_.app.Unpin({to_one.start, kPageBytes});
}

// The second job of `drover move --shared`: whatever is not there yet, and for all who map it.
TEST_F(Flow, ASharedJobMovesFilesAndWhatSeveralProcessesMap) {
  World::MapOptions shared_memory;
  shared_memory.shared = shared_memory.file = true;
  const Range alone = world_.MapFilled(8), forked = world_.MapFilled(16),
              memory = world_.MapFilled(32, shared_memory), left_out = world_.MapFilled(4);
  const uint64_t child = world_.app.Share(forked);
  Job job = world_.ToNode(1);
  EXPECT_EQ(world_.Run(job).pages_moved, 8u + 4u);
  EXPECT_EQ(world_.recorder.Count(forked, Outcome::kNotMoved), 16u);
  world_.app.PlaceOn(left_out, Node{0});
  job.shared = true;
  job.own_path = false;
  job.left_out_count = 1;
  job.left_out[0] = left_out;
  Job plan = job;
  plan.plan_only = true;
  EXPECT_EQ(world_.Run(plan).moved_kernel_path, 48u);
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 48u);
  EXPECT_EQ(world_.result.pages_already_there, 8u);
  EXPECT_EQ(world_.NodeOf(forked.start), 1);
  EXPECT_EQ(world_.NodeOf(memory.start), 1);
  EXPECT_EQ(world_.NodeOf(alone.start), 1);
  EXPECT_EQ(world_.NodeOf(left_out.start), 0);
  world_.app.EndChild(child);
}

class ByThreads : public Flow {
 protected:
  static constexpr uint64_t kPages = 3000;  // several lists, the last one of no round number

  Job ByKernel() const {
    Job job = world_.ToNode(1);
    job.own_path = false;
    job.helper_count = 2;
    for (int16_t& cpu : job.helper_cpus) cpu = -1;
    return job;
  }
  // Threads that made the calls of this job.
  std::set<pid_t> CallersOf(const Job& job) {
    std::set<pid_t> callers;
    std::mutex lock;
    world_.model.SetHook([&](Call call, uint64_t) {
      if (call != Call::kMovePages) return;
      {
        const std::lock_guard guard(lock);
        callers.insert(gettid());
      }
      // (Others come to their parts.)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    });
    world_.Run(job);
    world_.model.SetHook({});
    return callers;
  }
};

TEST_F(ByThreads, MoveEachPageOnce) {
  const Range range = world_.MapFilled(kPages);
  EXPECT_GT(CallersOf(ByKernel()).size(), 1u);
  EXPECT_EQ(world_.result.moved_kernel_path, kPages);
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), kPages);
  EXPECT_EQ(world_.recorder.told_twice, 0u);
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    ASSERT_EQ(world_.NodeOf(page), 1);
}

TEST_F(ByThreads, NameWhatStays) {
  const Range range = world_.MapFilled(kPages);
  for (const uint64_t page : {0, 700, 701, 2999})
    world_.app.Pin({range.start + page * kPageBytes, kPageBytes});
  (void)CallersOf(ByKernel());
  EXPECT_EQ(world_.recorder.Count(range, Outcome::kMoved), kPages - 4);
  EXPECT_EQ(world_.recorder.Count(range, Why::kBusy), 4u);
  world_.app.Unpin(range);
}

// Two calls at a time would keep twice as many pages.
TEST_F(ByThreads, UnderABudgetThereIsOne) {
  world_.MapFilled(kPages);
  Job job = ByKernel();
  job.max_stall_ns = 1'000'000'000;
  EXPECT_EQ(CallersOf(job).size(), 1u);
  EXPECT_EQ(world_.result.moved_kernel_path, kPages);
}

// A call of move_pages(2) is as long as a window may be, so the first one is small.
TEST_F(Flow, UnderABudgetCallsBeginSmallAndGrow) {
  const Range range = world_.MapFilled(256);
  Job job = world_.ToNode(1);
  job.own_path = false;
  job.max_stall_ns = 1'000'000'000;
  uint64_t before_second = 0, before_third = 0;
  world_.Before(Call::kMovePages, 2, [&] {
    before_second = world_.recorder.Count(range, Outcome::kMoved);
    world_.Before(Call::kMovePages, 1,
                  [&] { before_third = world_.recorder.Count(range, Outcome::kMoved); });
  });
  EXPECT_EQ(world_.Run(job).moved_kernel_path, 256u);
  EXPECT_EQ(before_second, 8u);
  EXPECT_EQ(before_third, 24u);
}

// (A copy of 2 MiB takes more than 10 us on every machine.) The kernel would make the program wait
// as long.
TEST_F(Flow, HugePagesThatAreOverBudgetStayUnlessForced) {
  const Range huge = world_.MapFilledHuge(2), small = world_.MapFilled(8);
  Job job = world_.ToNode(1);
  job.max_stall_ns = kMaxStallNsLeast;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(huge, Why::kOverBudget), 2 * kPagesPerHuge);
  EXPECT_EQ(world_.NodeOf(huge.start), 0);
  EXPECT_TRUE(world_.WholeHuge(huge.start));
  EXPECT_EQ(world_.result.moved_kernel_path, 0u);
  EXPECT_GT(world_.result.smallest_budget_ns, kMaxStallNsLeast);
  job.over_budget = true;
  world_.Run(job);
  EXPECT_EQ(world_.recorder.Count(huge, Outcome::kMoved), 2 * kPagesPerHuge);
  EXPECT_EQ(world_.NodeOf(huge.start), 1);
  EXPECT_TRUE(world_.WholeHuge(huge.start));
  EXPECT_EQ(world_.NodeOf(small.start), 1);
}

}  // namespace
}  // namespace drover::flow
