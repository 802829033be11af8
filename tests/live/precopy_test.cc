// Pages that are copied ahead, of a program that writes to them meanwhile.
#include <gtest/gtest.h>

#include <filesystem>

#include "drover/engine.h"
#include "live/checked_memory.h"
#include "live/command.h"

namespace drover::live {
namespace {

TEST(Precopy, LosesNothingOfAProgramThatWrites) {
  Subject subject(UnderDrover(), {"--mib", "4", "--threads", "2"});
  ASSERT_NE(subject.pid(), 0);
  const auto move = [&](const char* precopy) {
    return RunCommand({Built("drover"), "move", std::to_string(subject.pid()), "--to", "same",
                       "--max-stall", "500us", precopy, "--json"})
        .json();
  };
  for (int round = 0; round < 2; ++round) {
    const auto moved = move("--precopy");
    EXPECT_GE(moved["pages_moved"].get<uint64_t>(), 1024u * 98 / 100) << moved;
    EXPECT_GE(moved["precopy"]["pages"], moved["by_path"]["own"]);
    EXPECT_LT(moved["precopy"]["changed"], moved["precopy"]["pages"]);
    EXPECT_GT(moved["phases_s"]["precopy"], 0.0);
    EXPECT_GE(moved["relocated_verified"], 0.98);
  }
  EXPECT_EQ(move("--precopy=never")["precopy"]["pages"], 0);
  ExpectRefused(RunCommand({Built("drover"), "move", std::to_string(subject.pid()), "--to", "same",
                            "--precopy=soon"}),
                2, "--precopy");
  EXPECT_TRUE(subject.EndsRight());
}

// Every word is written again and again, and each write is checked.
TEST(Precopy, KeepsHugePagesWhole) {
  CheckedMemory memory(16 << 20, true);
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  memory.StartThreads(2);
  MoveRequest request;
  request.ranges = {memory.range()};
  request.precopy = Precopy::kAlways;
  uint64_t changed = 0;
  for (int round = 0; round < 8; ++round) {
    const auto moved = (*engine)->Move(request);
    ASSERT_TRUE(moved.has_value()) << moved.error().message;
    EXPECT_GE(moved->pages_moved, memory.pages() * 98 / 100);
    EXPECT_GE(moved->pages_precopied, moved->pages_moved);
    changed += moved->pages_changed;
  }
  EXPECT_GT(changed, 0u) << "nobody has written";
  EXPECT_EQ(HugePages(memory.range()), memory.pages() / 512);
  for (const auto& descriptor : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    EXPECT_FALSE(std::filesystem::read_symlink(descriptor, gone).string().ends_with("/mem"))
        << "a child would inherit it";
  }
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

}  // namespace
}  // namespace drover::live
