// The engine in its own process: memory is relocated while threads use it.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "drover/engine.h"
#include "live/checked_memory.h"

namespace drover {
namespace {

std::unique_ptr<Engine> OpenEngine() {
  auto engine = Engine::Open({});
  EXPECT_TRUE(engine.has_value()) << engine.error().message;
  EXPECT_EQ((*engine)->OwnPathRefused(), "");
  return std::move(*engine);
}

class Hosted : public testing::TestWithParam<std::tuple<bool, const char*>> {
 protected:
  bool huge() const { return std::get<0>(GetParam()); }
  bool reuse() const { return std::string_view(std::get<1>(GetParam())) == "reuse"; }
  const char* migrator() const { return reuse() ? "serial" : std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(PageSizesAndMigrators, Hosted,
                         testing::Combine(testing::Values(false, true),
                                          testing::Values("serial", "threads:2:always", "reuse")));

TEST_P(Hosted, RelocatesUnderReadersAndWriters) {
  constexpr int kRounds = 10;
  live::CheckedMemory memory(64 << 20, huge());
  auto engine = OpenEngine();
  memory.StartThreads(4);
  for (int round = 0; round < kRounds; ++round) {
    const auto before = live::FramesOf(memory.range());
    MoveRequest request;
    request.ranges = {memory.range()};
    request.migrator = migrator();
    request.reuse = reuse();
    const auto result = engine->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->own_path_refused, "");
    EXPECT_EQ(result->pages_reused > 0, reuse());
    // (Targets that are made as they are copied to are not there ahead.)
    const bool fills = !huge() && !reuse() &&
                       (result->copied_through == CopyThrough::kFill ||
                        result->copied_through == CopyThrough::kKernelFill);
    EXPECT_EQ(result->pages_filled_ahead > 0, result->copy_threads > 1 && !fills);
    for (const auto& cause : result->not_moved)
      RecordProperty(cause.why, static_cast<int>(cause.pages));
    EXPECT_EQ(result->pages_requested, memory.pages());
    EXPECT_EQ(result->pages_requested, result->pages_moved + result->pages_already_there +
                                           result->pages_gone + result->pages_not_moved);
    EXPECT_GE(result->pages_moved, memory.pages() * 98 / 100);
    EXPECT_GE(live::CountChanged(before, live::FramesOf(memory.range())),
              result->pages_moved * 98 / 100);
    if (huge()) {
      EXPECT_EQ(live::HugePages(memory.range()), memory.pages() / 512);
    }
  }
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

class HostedCopy : public testing::TestWithParam<std::tuple<CopyThrough, const char*>> {};

INSTANTIATE_TEST_SUITE_P(WaysAndMigrators, HostedCopy,
                         testing::Combine(testing::Values(CopyThrough::kProgram,
                                                          CopyThrough::kKernel, CopyThrough::kFill,
                                                          CopyThrough::kKernelFill),
                                          testing::Values("serial", "threads:2")));

TEST_P(HostedCopy, LosesNothing) {
  live::CheckedMemory memory(16 << 20, false);
  auto engine = OpenEngine();
  memory.StartThreads(4);
  for (const double max_stall_us : {0.0, 500.0}) {
    const auto before = live::FramesOf(memory.range());
    MoveRequest request;
    request.ranges = {memory.range()};
    request.migrator = std::get<1>(GetParam());
    request.copy_through = std::get<0>(GetParam());
    request.max_stall_us = max_stall_us;
    request.over_budget = max_stall_us > 0;
    request.verify = max_stall_us > 0;
    const auto result = engine->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->copied_through, request.copy_through);
    EXPECT_GE(result->pages_moved, memory.pages() * 98 / 100);
    EXPECT_GE(live::CountChanged(before, live::FramesOf(memory.range())),
              result->pages_moved * 98 / 100);
    if (result->verified.has_value()) {
      EXPECT_EQ(result->verified->copied_again, 0u);
    }
  }
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

TEST(HostedEngine, APlanTouchesNothingAndSaysWhatThenHappens) {
  live::CheckedMemory memory(8 << 20, false);
  auto engine = OpenEngine();
  MoveRequest request;
  request.ranges = {memory.range()};
  request.plan_only = true;
  const auto before = live::FramesOf(memory.range());
  const auto plan = engine->Move(request);
  ASSERT_TRUE(plan.has_value()) << plan.error().message;
  EXPECT_EQ(live::CountChanged(before, live::FramesOf(memory.range())), 0u);
  request.plan_only = false;
  const auto result = engine->Move(request);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(plan->pages_requested, result->pages_requested);
  EXPECT_EQ(plan->pages_by_own_path, result->pages_by_own_path);
  EXPECT_EQ(plan->pages_by_own_path, memory.pages());
}

// The caller may name what the engine itself was made in: its object on the heap, the program's
// data. Were any of that moved, the engine would wait for itself.
TEST(HostedEngine, ItsOwnMemoryIsNotMovedWithTheHeapAndTheProgramsData) {
  std::vector<std::unique_ptr<uint64_t[]>> blocks;
  for (uint64_t i = 0; i < 100; ++i) {
    blocks.push_back(std::make_unique<uint64_t[]>(1000));
    std::fill_n(blocks.back().get(), 1000, i);
    if (i == 50) blocks.push_back(nullptr);
  }
  auto engine = OpenEngine();
  MoveRequest request;
  std::ifstream maps("/proc/self/maps");
  const std::string program = std::filesystem::read_symlink("/proc/self/exe");
  for (std::string line; std::getline(maps, line);) {
    uint64_t start = 0, end = 0;
    char rights[8] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, rights) != 3) continue;
    const bool wanted = line.ends_with("[heap]") || line.ends_with(program) ||
                        line.find("libc.so") != std::string::npos;
    if (wanted && std::string(rights) == "rw-p")
      request.ranges.push_back({reinterpret_cast<const void*>(start), end - start});
  }
  ASSERT_GE(request.ranges.size(), 3u);
  for (int round = 0; round < 20; ++round) {
    const auto result = engine->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_GT(result->pages_moved, 100u) << "the blocks on the heap";
  }
  for (uint64_t i = 0; i < 100; ++i)
    for (uint64_t k = 0; k < 1000; ++k) ASSERT_EQ(blocks[i < 51 ? i : i + 1][k], i);
}

}  // namespace
}  // namespace drover
