// --page-size: small pages of a program at work become huge ones, and not one word is lost.
//
// (khugepaged of the kernel's own may come first with some of them.)
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "drover/engine.h"
#include "live/checked_memory.h"
#include "live/command.h"

namespace drover::live {
namespace {

TEST(PageSize, SmallPagesBecomeHugeWhileTheProgramWrites) {
  CheckedMemory memory(16 << 20, false);
  memory.AllowHuge();
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  memory.StartThreads(2);
  MoveRequest request;
  request.ranges = {memory.range()};
  request.migrator = "threads:2";
  request.page_size = PageSize::kHuge;
  const auto moved = (*engine)->Move(request);
  ASSERT_TRUE(moved.has_value()) << moved.error().message;
  ASSERT_TRUE(moved->gathered.has_value());
  const uint64_t huge = HugePages(memory.range());
  EXPECT_GE(huge, moved->gathered->pages / 512);
  EXPECT_GE(huge, memory.pages() / 512 / 2);
  uint64_t told = huge;
  for (const StaysSmall& stays : moved->gathered->stay_small) told += stays.slots;
  EXPECT_GE(told, memory.pages() / 512) << "each slot is told of";
  EXPECT_GT(moved->phases_s.gather, 0);
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

uint64_t HugeKib(int pid) {
  uint64_t sum = 0;
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  for (std::string line; std::getline(smaps, line);)
    if (line.starts_with("AnonHugePages:")) sum += std::stoull(line.substr(14));
  return sum;
}

class OfAProcess : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(PageSize, OfAProcess, testing::Bool(), [](const auto& with_agent) {
  return with_agent.param ? "WithAgent" : "FromOutside";
});

TEST_P(OfAProcess, BecomeHuge) {
  const auto before = GetParam() ? UnderDrover() : std::vector<std::string>();
  Subject subject(before, {"--mib", "8", "--allow-huge"});
  ASSERT_NE(subject.pid(), 0);
  const auto done = RunCommand({Built("drover"), "move", std::to_string(subject.pid()), "--to",
                                "same", "--page-size", "huge", "--max-stall", "none", "--json"})
                        .json();
  const auto& gathered = done["gathered"];
  EXPECT_GE(HugeKib(subject.pid()), 2 * 2048u) << done;
  EXPECT_EQ(gathered["pages"], gathered["huge_pages"].get<uint64_t>() * 512);
  EXPECT_TRUE(subject.EndsRight());
}

// The subject's checked memory does not want them.
TEST(PageSize, WhatStaysSmallIsNamed) {
  Subject subject(UnderDrover(), {"--mib", "8"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const auto move = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {Built("drover"), "move", pid, "--to", "same"};
    words.insert(words.end(), more.begin(), more.end());
    return RunCommand(words);
  };
  const auto done = move({"--page-size", "huge", "--max-stall", "none", "--json"}).json();
  uint64_t switched_off = 0;
  for (const auto& stays : done["gathered"]["stay_small"])
    if (stays["why"].get<std::string>().starts_with("huge pages are switched off"))
      switched_off += stays["slots"].get<uint64_t>();
  EXPECT_GE(switched_off, 3u) << done;
  EXPECT_TRUE(move({"--json"}).json()["gathered"].is_null());
  ExpectRefused(move({"--page-size", "base"}), 2, "--page-size");
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::live
