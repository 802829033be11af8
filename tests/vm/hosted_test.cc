// The engine in its own process, by the library's public face: there and back under threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>

#include "drover/engine.h"
#include "live/checked_memory.h"
#include "vm/moves.h"

namespace drover::vm {
namespace {

constexpr int kHostedRounds = 3;

class TwoNodesHosted : public testing::TestWithParam<std::tuple<bool, const char*>> {};
INSTANTIATE_TEST_SUITE_P(PageSizesAndMigrators, TwoNodesHosted,
                         testing::Combine(testing::Bool(), testing::Values("serial", "threads:2")));

TEST_P(TwoNodesHosted, ThereAndBackUnderReadersAndWriters) {
  const auto [huge, migrator] = GetParam();
  // Few small pages: each costs two interrupts of the other emulated CPU, out and back.
  live::CheckedMemory memory(huge ? 8 << 20 : 2 << 20, huge);
  const PageRange range{reinterpret_cast<uint64_t>(memory.range().start),
                        memory.range().length_bytes};
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  ASSERT_EQ((*engine)->OwnPathRefused(), "");
  memory.StartThreads(4);
  for (int i = 0; i < 2 * kHostedRounds; ++i) {
    const int node = 1 - i % 2;
    SCOPED_TRACE("move " + std::to_string(i) + " to node " + std::to_string(node));
    MoveRequest request;
    request.ranges = {memory.range()};
    request.target = Target::ToNode(node);
    request.migrator = migrator;
    const auto result = (*engine)->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->pages_requested, memory.pages());
    EXPECT_EQ(result->pages_requested, result->pages_moved + result->pages_already_there +
                                           result->pages_gone + result->pages_not_moved);
    EXPECT_GE(result->pages_moved + result->pages_already_there, memory.pages() * 98 / 100);
    ExpectOnNode(getpid(), range, node);
    if (huge) {
      EXPECT_EQ(HugePages(getpid(), range), memory.pages() / 512);
    }
  }
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

}  // namespace
}  // namespace drover::vm
