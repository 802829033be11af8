// The storm's own manners: what it is asked wrongly, and what it leaves behind.
#include <gtest/gtest.h>

#include <filesystem>

#include "live/command.h"

namespace drover::live {
namespace {

uint64_t CountLeftovers() {
  uint64_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator("/tmp"))
    count += each.path().filename().string().starts_with("drover-chaos-run-") ? 1 : 0;
  return count;
}

uint64_t CountStormsOf(const std::string& seed) {
  const Outcome found = RunCommand({"pgrep", "-c", "-f", "drover_storm .*--seed " + seed});
  return std::stoul("0" + found.out);
}

TEST(Chaos, InterruptedItLeavesNothingBehind) {
  const std::string seed = std::to_string(900'000'000 + getpid());
  const uint64_t before = CountLeftovers();
  const Outcome outcome =
      RunCommand({"timeout", "--foreground", "--preserve-status", "-s", "INT", "2",
                  Built("drover_chaos"), "--seconds", "60", "--seed", seed});
  EXPECT_EQ(outcome.exit_code, 130) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("chaos: interrupted, seed " + seed), std::string::npos) << outcome.out;
  EXPECT_EQ(CountLeftovers(), before);
  EXPECT_EQ(CountStormsOf(seed), 0u);
}

TEST(Chaos, SaysWhatItCannotRead) {
  for (const auto& [option, value] : {std::pair{"--seed", "abc"}, std::pair{"--seconds", "0"},
                                      std::pair{"--seconds", ""}, std::pair{"--only", "nothing"}}) {
    const Outcome outcome = RunCommand({Built("drover_chaos"), option, value});
    EXPECT_EQ(outcome.exit_code, 2) << option << " " << value;
    EXPECT_NE(outcome.err.find(option), std::string::npos) << outcome.err;
  }
}

}  // namespace
}  // namespace drover::live
