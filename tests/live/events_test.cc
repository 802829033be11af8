// What a program does while its own memory is moved by the hosted engine: forks, threads, discards,
// mappings that change. Every word is checked.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "drover/engine.h"

namespace drover {
namespace {

constexpr size_t kPage = 4096;

// Keeps the engine moving the range until the end of the test.
class Mover {
 public:
  explicit Mover(AddressRange range, size_t batch_bytes = 2u << 20) {
    auto opened = Engine::Open({});
    EXPECT_TRUE(opened.has_value());
    engine_ = std::move(*opened);
    thread_ = std::thread([=, this] {
      MoveRequest request;
      request.ranges = {range};
      request.batch_bytes = batch_bytes;
      while (!stop_) {
        const auto result = engine_->Move(request);
        if (!result.has_value()) {
          ++failures_;
          break;
        }
        moved_ += result->pages_moved;
        waits_ += result->stall.count;
        if (result->pages_requested != result->pages_moved + result->pages_already_there +
                                           result->pages_gone + result->pages_not_moved)
          ++failures_;
      }
    });
  }
  // Waits until a whole pass more has moved something, then a moment that differs each time: what
  // follows falls into the middle of the next pass.
  void AwaitProgress(int turn) {
    const uint64_t before = moved_;
    for (int i = 0; i < 20'000 && moved_ == before; ++i) usleep(100);
    usleep(static_cast<useconds_t>(turn % 20 * 100));
  }
  // Pages moved in all; every job must have kept its ledger.
  uint64_t Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    EXPECT_EQ(failures_, 0u);
    return moved_;
  }
  ~Mover() { Stop(); }

 private:
  std::unique_ptr<Engine> engine_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> moved_ = 0, waits_ = 0, failures_ = 0;
};

uint64_t* MapWords(size_t bytes, bool small_pages = false) {
  auto* words = static_cast<uint64_t*>(
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (small_pages) madvise(words, bytes, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < bytes / 8; ++i) words[i] = i + 1;
  return words;
}

// A child made at any moment reads every word, also where its page was just away.
TEST(WhileMoved, ChildrenReadEveryWord) {
  constexpr size_t kBytes = 4 << 20;
  uint64_t* words = MapWords(kBytes);
  Mover mover({words, kBytes});
  for (int i = 0; i < 300; ++i) {
    mover.AwaitProgress(i);
    const int child = static_cast<int>(i % 2 == 0 ? fork() : syscall(SYS_fork));
    if (child == 0) {
      for (size_t k = 0; k < kBytes / 8; ++k)
        if (words[k] != k + 1) _exit(1);
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    ASSERT_EQ(status, 0) << "child " << i;
  }
  EXPECT_GT(mover.Stop(), 0u);
  munmap(words, kBytes);
}

// A child that changes its own mappings or forks before its holes are filled waits for the engine,
// which once waited for it: a hang. What the child threw away reads as zeros there, and only there.
TEST(WhileMoved, ChildrenChangeTheirMappingsAtOnce) {
  constexpr size_t kBytes = 4 << 20, kThird = kBytes / 4;
  uint64_t* words = MapWords(kBytes);
  Mover mover({words, kBytes});
  for (int i = 0; i < 200; ++i) {
    mover.AwaitProgress(i);
    const int child = fork();
    if (child == 0) {
      madvise(words, kThird, MADV_DONTNEED);
      munmap(words + kThird / 8, kThird);
      const int grandchild = fork();
      for (size_t k = 0; k < kBytes / 8; ++k) {
        if (k >= kThird / 8 && k < 2 * kThird / 8) continue;
        if (words[k] != (k < kThird / 8 ? 0 : k + 1)) _exit(1);
      }
      if (grandchild == 0) _exit(0);
      int status = -1;
      waitpid(grandchild, &status, 0);
      _exit(status == 0 ? 0 : 2);
    }
    int status = -1;
    waitpid(child, &status, 0);
    ASSERT_EQ(status, 0) << "child " << i;
    for (size_t k = 0; k < kBytes / 8; ++k) ASSERT_EQ(words[k], k + 1);
  }
  EXPECT_GT(mover.Stop(), 0u);
  munmap(words, kBytes);
}

// setuid waits for every thread that libc knows, the engine's, too: it gets through between
// batches, long before the job has ended.
TEST(WhileMoved, SetuidGetsThroughBetweenBatches) {
  constexpr size_t kBytes = 64 << 20;
  uint64_t* words = MapWords(kBytes, true);
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value());
  for (const char* migrator : {"serial", "threads:2"}) {
    std::atomic<uint64_t> batches = 0;
    std::atomic<bool> ended = false;
    MoveRequest request;
    request.ranges = {{words, kBytes}};
    request.batch_bytes = kPage;
    request.migrator = migrator;
    request.progress = [&](const Progress&) { return ++batches, true; };
    std::thread job([&] {
      const auto result = (*engine)->Move(request);
      EXPECT_TRUE(result.has_value() && result->own_path_refused.empty());
      ended = true;
    });
    int calls = 0;
    while (batches < 100 && !ended) std::this_thread::yield();
    for (; !ended && calls < 100; ++calls) ASSERT_EQ(setresuid(-1u, -1u, -1u), 0);
    EXPECT_EQ(calls, 100) << "the job ended before the calls did";
    (*engine)->Cancel();
    job.join();
  }
  for (size_t k = 0; k < kBytes / 8; ++k) ASSERT_EQ(words[k], k + 1);
  munmap(words, kBytes);
}

// Short jobs, so that setuid meets engine threads that begin and end: one that ended without an
// answer would be waited for for ever.
TEST(WhileMoved, SetuidMeetsJobsThatBeginAndEnd) {
  constexpr size_t kBytes = 16 << 10;
  uint64_t* words = MapWords(kBytes, true);
  Mover mover({words, kBytes});
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(setresuid(-1u, -1u, -1u), 0);
  EXPECT_GT(mover.Stop(), 0u);
  munmap(words, kBytes);
}

// A pipe still holds the originals (vmsplice), which nobody can see: they are freed, not reused.
TEST(WhileMoved, OriginalsThatAPipeHoldsKeepTheirContent) {
  constexpr size_t kBytes = 64 << 10;
  uint64_t* words = MapWords(kBytes);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const iovec all{words, kBytes};
  ASSERT_EQ(vmsplice(ends[1], &all, 1, 0), static_cast<ssize_t>(kBytes));
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value());
  MoveRequest request;
  request.ranges = {{words, kBytes}};
  for (int round = 0; round < 3; ++round) {
    const auto result = (*engine)->Move(request);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->pages_moved, kBytes / kPage);
  }
  std::vector<uint64_t> read_back(kBytes / 8);
  ASSERT_EQ(read(ends[0], read_back.data(), kBytes), static_cast<ssize_t>(kBytes));
  for (size_t k = 0; k < kBytes / 8; ++k) ASSERT_EQ(read_back[k], k + 1);
  close(ends[0]);
  close(ends[1]);
  munmap(words, kBytes);
}

// realloc of a large block is an mremap that no hook reaches: what grows while it is registered
// must not stay so, or its first touch waits for ever.
TEST(WhileMoved, BlocksGrowByRealloc) {
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value());
  std::atomic<bool> stop = false;
  std::atomic<char*> block = nullptr;
  std::atomic<uint64_t> moved = 0;
  std::thread mover([&] {
    while (!stop) {
      char* const start = block;
      if (start == nullptr) continue;
      MoveRequest request;
      request.ranges = {{start, 256 << 10}};
      const auto result = (*engine)->Move(request);
      if (result.has_value()) moved += result->pages_moved;
    }
  });
  for (int round = 0; round < 400; ++round) {
    size_t bytes = 256 << 10;
    auto* words = static_cast<char*>(std::malloc(bytes));
    std::memset(words, round % 100 + 1, bytes);
    block = words;
    usleep(static_cast<useconds_t>(round % 20 * 50));
    for (; bytes < 2 << 20; bytes *= 2) {
      words = static_cast<char*>(std::realloc(words, 2 * bytes));
      ASSERT_NE(words, nullptr);
      std::memset(words + bytes, round % 100 + 1, bytes);  // the first touch of what has grown
    }
    for (size_t i = 0; i < bytes; i += 64) ASSERT_EQ(words[i], round % 100 + 1) << i;
    block = nullptr;
    std::free(words);
  }
  stop = true;
  mover.join();
  EXPECT_GT(moved, 0u);
}

// Thrown away means zero at once and for good, however the moves fall.
TEST(WhileMoved, DiscardedPagesStayDiscarded) {
  constexpr size_t kBytes = 2 << 20;
  uint64_t* words = MapWords(kBytes);
  Mover mover({words, kBytes}, 256 << 10);
  for (uint64_t round = 1; round <= 20'000; ++round) {
    const size_t page = round * 7919 % (kBytes / kPage);
    uint64_t* word = words + page * kPage / 8;
    *word = round;
    ASSERT_EQ(*static_cast<volatile uint64_t*>(word), round);
    ASSERT_EQ(madvise(word, kPage, MADV_DONTNEED), 0);
    ASSERT_EQ(*static_cast<volatile uint64_t*>(word), 0u) << "round " << round;
    *word = round + 1;
    ASSERT_EQ(*static_cast<volatile uint64_t*>(word), round + 1) << "round " << round;
  }
  EXPECT_GT(mover.Stop(), 0u);
  munmap(words, kBytes);
}

// mprotect, mlock and munmap raise no event, or come in the middle of a window: the ladder.
TEST(WhileMoved, MappingsChange) {
  constexpr size_t kBytes = 2 << 20;
  uint64_t* words = MapWords(kBytes);
  Mover mover({words, kBytes});
  for (uint64_t round = 1; round <= 30'000; ++round) {
    const size_t page = round * 7919 % (kBytes / kPage);
    auto* word = reinterpret_cast<volatile uint64_t*>(words + page * kPage / 8);
    void* address = words + page * kPage / 8;
    *word = round;
    switch (round % 4) {
      case 0:
        ASSERT_EQ(mprotect(address, kPage, PROT_READ), 0);
        ASSERT_EQ(*word, round);
        ASSERT_EQ(mprotect(address, kPage, PROT_READ | PROT_WRITE), 0);
        break;
      case 1:
        ASSERT_EQ(mlock(address, kPage), 0);
        ASSERT_EQ(*word, round);
        ASSERT_EQ(munlock(address, kPage), 0);
        break;
      case 2:
        ASSERT_EQ(mprotect(address, kPage, PROT_NONE), 0);
        ASSERT_EQ(mprotect(address, kPage, PROT_READ | PROT_WRITE), 0);
        ASSERT_EQ(*word, round);
        break;
      default:
        ASSERT_EQ(munmap(address, kPage), 0);
        ASSERT_EQ(mmap(address, kPage, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                  address);
        ASSERT_EQ(*word, 0u) << "round " << round;
    }
    *word = page;
  }
  EXPECT_GT(mover.Stop(), 0u);
  munmap(words, kBytes);
}

}  // namespace
}  // namespace drover
