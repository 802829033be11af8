// drover tune between nodes.
#include <gtest/gtest.h>

#include "live/command.h"

namespace drover::vm {
namespace {

TEST(Tune, MeasuresEachPairOfNodesThatIsNamed) {
  const auto outcome =
      live::RunCommand({live::Built("drover"), "tune", "--rounds", "3", "--pair", "0:1", "--pair",
                        "1:0", "--buffer", "2M", "--largest", "32K", "--dry-run", "--json"},
                       120);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto pairs = outcome.json()["profile"]["pairs"];
  ASSERT_EQ(pairs.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(pairs[i]["source"], i);
    EXPECT_EQ(pairs[i]["target"], 1 - i);
    EXPECT_GE(pairs[i]["copy_functions"].size(), 4u);
    EXPECT_EQ(pairs[i]["engines"].size(), 2u);
    ASSERT_EQ(pairs[i]["batches"].size(), 4u);  // 4K to 32K
    for (const auto& batch : pairs[i]["batches"]) {
      EXPECT_GT(batch["small_gb_per_s"], 0.0);
      EXPECT_GT(batch["large_gb_per_s"], 0.0);
    }
    EXPECT_GT(pairs[i]["batches"][3]["serial_gb_per_s"], 0.0);
    EXPECT_EQ(pairs[i]["batches"][3]["engines_gb_per_s"].size(), 2u);
  }
  const std::string words = outcome.json()["auto"];
  EXPECT_NE(words.find("0 to 1: "), std::string::npos) << words;
  EXPECT_NE(words.find("1 to 0: "), std::string::npos) << words;
}

}  // namespace
}  // namespace drover::vm
