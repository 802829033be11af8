// drover tune, and what auto then does.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "live/command.h"

namespace drover::live {
namespace {

class Tune : public testing::Test {
 protected:
  Tune() { folder_ = mkdtemp(name_) != nullptr ? name_ : ""; }
  ~Tune() override { std::filesystem::remove_all(folder_); }

  // `words` behind drover, with the profile in this test's folder.
  Outcome Run(std::vector<std::string> words, int seconds = 60) const {
    words.insert(words.begin(), {"env", "DROVER_PROFILE=" + path(), Built("drover")});
    return RunCommand(words, seconds);
  }
  std::string path() const { return folder_ + "/profile.json"; }

 private:
  char name_[32] = "/tmp/drover-tune-XXXXXX";
  std::string folder_;
};

TEST_F(Tune, WritesWhatAutoThenUses) {
  const Outcome before = Run({"doctor", "--json"});
  EXPECT_NE(before.out.find("not measured"), std::string::npos);
  const Outcome tuned = Run({"tune", "--rounds", "3", "--buffer", "4M", "--largest", "256K"});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.err;
  EXPECT_NE(tuned.out.find("written to " + path()), std::string::npos) << tuned.out;
  // It may be that nothing pays, on a busy machine. So that something does:
  auto profile = nlohmann::json::parse(std::ifstream(path()));
  auto& pair = profile["pairs"][0];
  pair["auto"] = pair["engines"][0]["migrator"];
  pair["engines"][0]["smallest_batch_bytes"] = 256 << 10;
  pair["copy_function_large_from_bytes"] = 256 << 10;
  std::ofstream(path()) << profile;
  EXPECT_NE(
      Run({"doctor", "--json"}).out.find("for batches from 256 KiB on, serial below; measured"),
      std::string::npos);
  Subject subject(UnderDrover(), {"--mib", "4"});
  ASSERT_NE(subject.pid(), 0);
  for (const char* batch : {"64k", "256k"}) {
    const auto moved = Run({"move", std::to_string(subject.pid()), "--to", "same", "--migrator",
                            "auto", "--batch", batch, "--json"})
                           .json();
    EXPECT_GT(moved["by_path"]["own"].get<uint64_t>(), 1000u) << moved;
    uint64_t taken = 0;
    for (const auto& engine : moved["migrators"]) taken += engine["batches"].get<uint64_t>();
    EXPECT_EQ(taken > 0, std::string(batch) == "256k") << moved;
  }
  EXPECT_TRUE(subject.EndsRight());
}

TEST_F(Tune, BadWordsAreRefused) {
  const struct {
    std::vector<std::string> words;
    int exit_code;
    const char* says;
  } cases[] = {{{"--pair", "0-1"}, 2, "no pair of nodes"},
               {{"--pair", "0:1:2"}, 2, "no pair of nodes"},
               {{"--pair", "0:99"}, 4, "node 99 does not exist"},
               {{"--largest", "4K"}, 2, "--largest is from 16K"},
               {{"--buffer", "1M"}, 2, "--buffer 2M or more"},
               {{"--buffer", "much"}, 2, "much"},
               {{"--buffer", "2M", "--rounds", "3", "--largest", "16K", "--file", "/proc/none/x"},
                1,
                "cannot be written"}};
  for (const auto& [words, exit_code, says] : cases) {
    std::vector<std::string> all = {"tune"};
    all.insert(all.end(), words.begin(), words.end());
    const Outcome outcome = Run(all);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(path()));
  }
}

}  // namespace
}  // namespace drover::live
