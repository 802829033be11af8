// `threads:N`: who copies what, and what a helper does between batches.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

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
  bool DoOne() override {
    if (left.load() == 0) return false;
    done_by = gettid();
    --left;
    return true;
  }
  void Post(int count) {
    left = count;
    Ring();
  }
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
  static constexpr uint64_t kStacks =
      threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes;

  Threads() : stacks_{kernel_.Map(kStacks).value(), kStacks}, threads_(stacks_) {
    copied.clear();
    both_copy = false;
  }
  ~Threads() override { kernel_.Unmap(stacks_); }

  void Start(ThreadsMigrator& migrator, Errands* errands) {
    const int16_t anywhere = -1;
    ASSERT_EQ(migrator.Start({&anywhere, 1}, errands), 1u);
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
  errands.Post(1);
  std::this_thread::sleep_for(5ms);
  EXPECT_EQ(errands.left, 1) << "there is no helper any more";
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
