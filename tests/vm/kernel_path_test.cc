// What the kernel path moves, and what it cannot.
#include <gtest/gtest.h>

#include <algorithm>

#include "vm/moves.h"
#include "vm/started_victim.h"

namespace drover::vm {
namespace {

TEST(KernelPath, AProcessWithoutAnAgentIsMovedAndSoReported) {
  StartedVictim victim(With::kNoAgent,
                       {"--node", "0", "--small-mib", "4", "--huge-mib", "4", "--threads", "4"});
  ASSERT_NE(victim.pid(), 0);
  const uint64_t huge_pages = HugePages(victim.pid(), victim.huge());
  for (const int node : {1, 0, 1}) {
    SCOPED_TRACE("to node " + std::to_string(node));
    const auto outcome = Move(victim.pid(), {"--to", std::to_string(node)});
    ASSERT_TRUE(ExpectTruthful(outcome));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
    const auto json = outcome.json();
    EXPECT_NE(json["own_path_refused"].get<std::string>().find("no agent"), std::string::npos);
    EXPECT_EQ(json["by_path"]["own"], 0);
    EXPECT_GE(json["pages_moved"].get<uint64_t>(), victim.pages() * 98 / 100);
    ExpectOnNode(victim.pid(), victim.small(), node);
    ExpectOnNode(victim.pid(), victim.huge(), node);
    EXPECT_EQ(HugePages(victim.pid(), victim.huge()), huge_pages);
  }
  const auto again = Move(victim.pid(), {"--to", "1"});
  ASSERT_TRUE(ExpectTruthful(again));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_GE(again.json()["pages_already_there"].get<uint64_t>(), victim.pages());
  EXPECT_EQ(victim.End(), 0);
}

TEST(KernelPath, SeveralThreadsShareTheCalls) {
  StartedVictim victim(With::kNoAgent,
                       {"--node", "0", "--small-mib", "24", "--huge-mib", "8", "--threads", "2"});
  ASSERT_NE(victim.pid(), 0);
  for (const int node : {1, 0}) {
    const auto outcome = Move(victim.pid(), {"--to", std::to_string(node), "--migrator",
                                             "threads:2", "--max-stall", "none"});
    ASSERT_TRUE(ExpectTruthful(outcome));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
    ExpectOnNode(victim.pid(), victim.small(), node);
    ExpectOnNode(victim.pid(), victim.huge(), node);
  }
  EXPECT_EQ(victim.End(), 0);
}

TEST(KernelPath, CannotPutPagesWhereTheyAre) {
  StartedVictim victim(With::kNoAgent, {"--node", "0", "--small-mib", "1", "--huge-mib", "2"});
  ASSERT_NE(victim.pid(), 0);
  const auto outcome = Move(victim.pid(), {"--to", "same"});
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.json()["pages_moved"], 0);
  EXPECT_EQ(victim.End(), 0);
}

// A pinned page and a page of another process's as well stay; all others are moved, whatever stands
// beside them.
class MixedRange : public testing::TestWithParam<With> {};
INSTANTIATE_TEST_SUITE_P(Agents, MixedRange, testing::Values(With::kAgent, With::kNoAgent),
                         [](const auto& chosen) {
                           return chosen.param == With::kAgent ? "WithAgent" : "WithoutAgent";
                         });

TEST_P(MixedRange, WhatCannotMoveIsNamedAndTheRestMoves) {
  StartedVictim victim(GetParam(),
                       {"--node", "0", "--small-mib", "1", "--huge-mib", "2", "--mixed"});
  ASSERT_NE(victim.pid(), 0);
  const auto outcome = Move(victim.pid(), {"--to", "1", "--range", RangeWord(victim.mixed())});
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_EQ(outcome.exit_code, 3) << outcome.out;
  const auto json = outcome.json();
  EXPECT_EQ(json["pages_requested"], victim.mixed().pages());
  EXPECT_EQ(json["pages_not_moved"], 2) << json["not_moved"];
  std::vector<int> expected(victim.mixed().pages(), 1);
  expected[0] = expected[1] = 0;
  EXPECT_EQ(NodesOf(victim.pid(), victim.mixed()), expected);
  std::vector<std::string> causes;
  for (const auto& cause : json["not_moved"]) causes.push_back(cause["why"]);
  std::sort(causes.begin(), causes.end());
  ASSERT_EQ(causes.size(), 2u) << json["not_moved"];
  EXPECT_EQ(causes[0], "mapped by several processes, or several times");
  EXPECT_NE(causes[1].find("pinned"), std::string::npos) << causes[1];
  EXPECT_EQ(victim.End(), 0);
}

}  // namespace
}  // namespace drover::vm
