// `threads:N`: who copies what, and what a helper does between batches.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "kernel/failing_kernel.h"
#include "kernel/linux_kernel.h"
#include "migrators/threads.h"
#include "threads/posix_threads.h"

namespace drover::migrators {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 30s;

template <class Done>
bool Await(const Done& done) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!done() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(100us);
  return done();
}

class Counted final : public Errands {
 public:
  Found DoOne() override {
    if (left.load() == 0) return Found::kNothing;
    done_by = gettid();
    const uint64_t end_ns = kernel::LinuxKernel().NowNs() + takes_ns;
    while (kernel::LinuxKernel().NowNs() < end_ns) {
    }
    --left;
    return Found::kOne;
  }
  void Post(int count) {
    left = count;
    Ring();
  }
  uint64_t takes_ns = 0;  // of CPU time
  std::atomic<int> left = 0;
  std::atomic<pid_t> done_by = 0;
};

// Which thread has copied to where, in that order.
struct Copied {
  pid_t thread;
  uint64_t target;
};
std::mutex mutex;
std::vector<Copied> copied;
std::atomic<bool> both_copy = false;

void CopyAndNote(uint64_t target, uint64_t source, uint64_t length_bytes) {
  std::memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), length_bytes);
  bool first;
  {
    const std::lock_guard guard(mutex);
    first = copied.empty();
    copied.push_back({gettid(), target});
    if (copied.front().thread != gettid()) both_copy = true;
  }
  if (first) (void)Await([] { return both_copy.load(); });  // the other one gets its part
}

class Threads : public testing::Test {
 protected:
  static constexpr int16_t kAnywhere = -1;  // helpers look there as they begin
  static constexpr uint64_t kStacks =
      threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes;

  Threads() : stacks_{kernel_.Map(kStacks).value(), kStacks}, threads_(stacks_) {
    copied.clear();
    both_copy = false;
  }
  ~Threads() override { kernel_.Unmap(stacks_); }

  void Start(ThreadsMigrator& migrator, Errands* errands) {
    ASSERT_EQ(migrator.Start({&kAnywhere, 1}, errands), 1u);
  }
  void End(ThreadsMigrator& migrator) {
    migrator.Stop();
    threads_.JoinAll();
  }

  kernel::LinuxKernel kernel_;
  const Range stacks_;
  threads::PosixThreads threads_;
};

TEST_F(Threads, TheFirstHelperDoesErrandsAlsoAfterItHasSlept) {
  ThreadsMigrator migrator(CopyFunctions(CopyAndNote), kernel_, threads_);
  Counted errands;
  Start(migrator, &errands);
  for (int round = 0; round < 5; ++round) {
    errands.Post(100);
    EXPECT_TRUE(Await([&] { return errands.left == 0; })) << round;
    std::this_thread::sleep_for(20ms);  // it spins for a millisecond or two
  }
  EXPECT_NE(errands.done_by, gettid());
  End(migrator);
}

// Whose CPU clock stands still for a while, when it is told to.
class Robbed final : public kernel::FailingKernel {
 public:
  using FailingKernel::FailingKernel;
  uint64_t ThreadCpuNs() override {
    const uint64_t now_ns = FailingKernel::ThreadCpuNs();
    const uint64_t took_ns = std::min(to_steal_ns.load(), now_ns - stolen_ns_ - last_ns_);
    to_steal_ns -= took_ns;
    stolen_ns_ += took_ns;
    return last_ns_ = now_ns - stolen_ns_;
  }
  std::atomic<uint64_t> to_steal_ns = 0;

 private:
  uint64_t stolen_ns_ = 0, last_ns_ = 0;  // of the helper
};

TEST_F(Threads, AHelperRestsOnceForOneTheft) {
  Robbed robbed(kernel_);
  ThreadsMigrator migrator(CopyFunctions(CopyAndNote), robbed, threads_);
  Counted errands;
  errands.takes_ns = 400'000;  // so that each is looked at
  Start(migrator, &errands);
  errands.Post(200);
  EXPECT_TRUE(Await([&] { return errands.left < 190; }));
  robbed.to_steal_ns = 2'000'000;
  const auto begin = std::chrono::steady_clock::now();
  const int left = errands.left;
  EXPECT_TRUE(Await([&] { return errands.left == 0; }));
  // Each rest is 20 ms long, and others may have had the CPU, too.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, left * 10ms);
  End(migrator);
}

// Where there is nothing now, and it is about to sleep.
class Stopping final : public Errands {
 public:
  Found DoOne() override {
    looked = true;
    while (!go_on) std::this_thread::sleep_for(100us);
    return Found::kNothingNow;
  }
  std::atomic<bool> looked = false, go_on = false;
};

TEST_F(Threads, AHelperHearsOfAStopThatComesBeforeItsSleep) {
  ThreadsMigrator migrator(CopyFunctions(CopyAndNote), kernel_, threads_);
  Stopping errands;
  Start(migrator, &errands);
  ASSERT_TRUE(Await([&] { return errands.looked.load(); }));
  migrator.Stop();
  errands.go_on = true;
  threads_.JoinAll();  // (or the tests' time is up)
}

// A helper that loses its CPU in the middle of a chunk is late with it, and the caller copies it,
// too: then who copied what says nothing, and another batch is looked at.
TEST_F(Threads, TheCallerCopiesFromTheBeginningTheHelperFromTheEnd) {
  constexpr uint64_t kPages = 32 * ThreadsMigrator::kChunkBytes / kPageBytes;
  ThreadsMigrator migrator(CopyFunctions(CopyAndNote), kernel_, threads_);
  Counted errands;
  Start(migrator, &errands);
  const uint64_t memory = kernel_.Map(2 * kPages * kPageBytes).value();
  std::vector<Folio> folios(kPages);
  for (uint64_t i = 0; i < kPages; ++i)
    folios[i] = {memory + i * kPageBytes, memory + (kPages + i) * kPageBytes, kPageBytes};
  bool any_late = true;
  for (int tries = 0; any_late && tries < 100; ++tries) {
    copied.clear();
    both_copy = false;
    const uint64_t late = migrator.late_chunks();
    ASSERT_EQ(migrator.Submit(folios), Answer::kTaken);
    while (!migrator.Poll(kernel_.NowNs() + 1'000'000'000)) {
    }
    ASSERT_TRUE(Await([&] { return !migrator.HoldsAddresses(); }));
    any_late = migrator.late_chunks() != late;
  }
  ASSERT_FALSE(any_late);
  EXPECT_TRUE(both_copy);
  uint64_t mine = 0, others = UINT64_MAX;
  for (const Copied& one : copied) {
    const bool is_mine = one.thread == gettid();
    EXPECT_TRUE(is_mine ? one.target > mine : one.target < others);
    (is_mine ? mine : others) = one.target;
  }
  EXPECT_LT(mine, others);
  End(migrator);
  kernel_.Unmap({memory, 2 * kPages * kPageBytes});
}

}  // namespace
}  // namespace drover::migrators
