// Every copy engine, and every way to fail of one, at work on a program under its threads.
#include <gtest/gtest.h>

#include "live/command.h"

namespace drover::live {
namespace {

struct With {
  std::string migrator;
  bool verify = false;
};
void PrintTo(const With& with, std::ostream* out) {
  *out << with.migrator << (with.verify ? " --verify" : "");
}

class LiveEngines : public testing::TestWithParam<With> {};

INSTANTIATE_TEST_SUITE_P(Of, LiveEngines,
                         testing::Values(With{"threads:4"}, With{"channels:1"}, With{"channels:2"},
                                         With{"channels:4"}, With{"threads:2,channels:2,serial"},
                                         With{"fault:fail"}, With{"fault:fail-all"},
                                         With{"fault:refuse:over=threads:2"},
                                         With{"fault:fail:over=channels:2"}, With{"fault:late"},
                                         With{"fault:hang"}, With{"fault:late,serial"},
                                         With{"fault:lie", true}, With{"fault:short", true},
                                         With{"fault:flip:over=channels:2", true},
                                         With{"fault:late", true}, With{"null", true}));

TEST_P(LiveEngines, LoseNothing) {
  Subject subject(UnderDrover(), {"--mib", "16", "--threads", "2"});
  ASSERT_NE(subject.pid(), 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::string> words = {Built("drover"),
                                      "move",
                                      std::to_string(subject.pid()),
                                      "--to",
                                      "same",
                                      "--json",
                                      "--migrator",
                                      GetParam().migrator};
    if (GetParam().verify) words.push_back("--verify");
    const Outcome outcome = RunCommand(words);
    ASSERT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.err << outcome.out;
    const auto json = outcome.json();
    EXPECT_EQ(json["own_path_refused"], "");
    EXPECT_GE(json["pages_moved"].get<uint64_t>(), 4096u * 98 / 100) << outcome.out;
    uint64_t copied = 0, late = 0, by_engine = 0;  // (on a busy machine channels copy nothing)
    for (const auto& [who, pages] : json["by_migrator"].items()) copied += pages.get<uint64_t>();
    EXPECT_EQ(copied, json["by_path"]["own"].get<uint64_t>());
    for (const auto& one : json["migrators"]) {
      late += one["late"].get<uint64_t>();
      by_engine += one["pages"].get<uint64_t>();
    }
    const bool is_late = GetParam().migrator.find("late") != std::string::npos ||
                         GetParam().migrator.find("hang") != std::string::npos;
    if (is_late) {
      EXPECT_GT(late, 0u);
    }
    if (is_late) {
      EXPECT_GT(json["pages_retargeted"].get<uint64_t>(), 0u);
    }
    if (GetParam().verify && !is_late && by_engine > 0) {
      EXPECT_GT(json["verify"]["copied_again"].get<uint64_t>(), 0u);
    }
  }
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Migrators, AreListedAndTested) {
  const Outcome list = RunCommand({Built("drover"), "migrators", "--json"});
  ASSERT_EQ(list.exit_code, 0) << list.err;
  EXPECT_GE(list.json()["migrators"].size(), 5u);
  const Outcome test = RunCommand({Built("drover"), "migrators", "test", "channels:2", "--json"});
  EXPECT_EQ(test.exit_code, 0) << test.out << test.err;
  EXPECT_EQ(test.json()["passed"], true);
  EXPECT_EQ(RunCommand({Built("drover"), "migrators", "test", "swift"}).exit_code, 4);
}

}  // namespace
}  // namespace drover::live
