// The engine in its own process: memory is relocated while threads use it.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
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
  const char* migrator() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(PageSizesAndMigrators, Hosted,
                         testing::Combine(testing::Values(false, true),
                                          testing::Values("serial", "threads:2")));

TEST_P(Hosted, RelocatesUnderReadersAndWriters) {
  constexpr int kRounds = 50;
  live::CheckedMemory memory(64 << 20, huge());
  auto engine = OpenEngine();
  memory.StartThreads(4);
  for (int round = 0; round < kRounds; ++round) {
    const auto before = live::FramesOf(memory.range());
    MoveRequest request;
    request.ranges = {memory.range()};
    request.migrator = migrator();
    const auto result = engine->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->own_path_refused, "");
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

}  // namespace
}  // namespace drover
