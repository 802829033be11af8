// Programs with the agent in them, moved between two nodes by the own path.
#include <gtest/gtest.h>

#include "vm/moves.h"
#include "vm/started_victim.h"

namespace drover::vm {
namespace {

constexpr int kRounds = 2;

class OwnPath : public testing::Test {
 protected:
  live::Outcome MoveTo(const std::vector<std::string>& words) { return Move(victim_.pid(), words); }
  StartedVictim victim_{With::kAgent,
                        {"--node", "0", "--small-mib", "2", "--huge-mib", "8", "--threads", "4"}};
};

class OwnPathBy : public OwnPath, public testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Migrators, OwnPathBy,
                         testing::Values("serial", "threads:2", "channels:2,serial"));

TEST_P(OwnPathBy, ThereAndBackUnderReadersAndWriters) {
  ASSERT_NE(victim_.pid(), 0);
  ExpectOnNode(victim_.pid(), victim_.small(), 0);
  ExpectOnNode(victim_.pid(), victim_.huge(), 0);
  const uint64_t huge_pages = HugePages(victim_.pid(), victim_.huge());
  EXPECT_EQ(huge_pages, victim_.huge().pages() / 512);
  for (int i = 0; i < 2 * kRounds; ++i) {
    const int node = 1 - i % 2;
    SCOPED_TRACE("move " + std::to_string(i) + " to node " + std::to_string(node));
    const auto outcome = MoveTo({"--to", std::to_string(node), "--migrator", GetParam()});
    ASSERT_TRUE(ExpectTruthful(outcome));
    const auto json = outcome.json();
    EXPECT_EQ(json["own_path_refused"], "");
    EXPECT_GE(json["by_path"]["own"].get<uint64_t>(), victim_.pages() * 98 / 100);
    EXPECT_GE(json["pages_moved"].get<uint64_t>() + json["pages_already_there"].get<uint64_t>(),
              json["pages_requested"].get<uint64_t>() * 98 / 100);
    ExpectOnNode(victim_.pid(), victim_.small(), node);
    ExpectOnNode(victim_.pid(), victim_.huge(), node);
    EXPECT_EQ(HugePages(victim_.pid(), victim_.huge()), huge_pages);
  }
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(OwnPath, WhatIsThereAlreadyIsLeftAndCounted) {
  ASSERT_NE(victim_.pid(), 0);
  ASSERT_TRUE(ExpectTruthful(MoveTo({"--to", "1"})));
  const auto again = MoveTo({"--to", "1"});
  ASSERT_TRUE(ExpectTruthful(again));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_GE(again.json()["pages_already_there"].get<uint64_t>(), victim_.pages());
  EXPECT_LT(again.json()["pages_moved"].get<uint64_t>(), victim_.small().pages() / 4);
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(OwnPath, FromTakesOnlyThePagesOfThatNode) {
  ASSERT_NE(victim_.pid(), 0);
  ASSERT_TRUE(ExpectTruthful(MoveTo({"--to", "1", "--range", RangeWord(victim_.huge())})));
  ExpectOnNode(victim_.pid(), victim_.small(), 0);
  ExpectOnNode(victim_.pid(), victim_.huge(), 1);
  const auto outcome = MoveTo({"--from", "0", "--to", "1"});
  ASSERT_TRUE(ExpectTruthful(outcome));
  // What was on node 1 before was not asked for.
  EXPECT_GE(outcome.json()["pages_moved"].get<uint64_t>(), victim_.small().pages() * 98 / 100);
  EXPECT_LT(outcome.json()["pages_requested"].get<uint64_t>(), victim_.pages());
  ExpectOnNode(victim_.pid(), victim_.small(), 1);
  ExpectOnNode(victim_.pid(), victim_.huge(), 1);
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(OwnPath, TwoNodesChangePlaces) {
  ASSERT_NE(victim_.pid(), 0);
  ASSERT_TRUE(ExpectTruthful(MoveTo({"--to", "1", "--range", RangeWord(victim_.huge())})));
  ASSERT_TRUE(ExpectTruthful(MoveTo({"--from", "0,1", "--to", "1,0"})));
  ExpectOnNode(victim_.pid(), victim_.small(), 1);
  ExpectOnNode(victim_.pid(), victim_.huge(), 0);
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(OwnPath, SameKeepsTheNodeOfEachPage) {
  ASSERT_NE(victim_.pid(), 0);
  ASSERT_TRUE(ExpectTruthful(MoveTo({"--to", "1", "--range", RangeWord(victim_.huge())})));
  const auto small_before = NodesOf(victim_.pid(), victim_.small());
  const auto huge_before = NodesOf(victim_.pid(), victim_.huge());
  const auto outcome = MoveTo({"--to", "same"});
  // `same` leaves what only the kernel path could move, so the exit code is 3.
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_GE(outcome.json()["pages_moved"].get<uint64_t>(), victim_.pages() * 98 / 100);
  EXPECT_EQ(NodesOf(victim_.pid(), victim_.small()), small_before);
  EXPECT_EQ(NodesOf(victim_.pid(), victim_.huge()), huge_before);
  EXPECT_EQ(victim_.End(), 0);
}

}  // namespace
}  // namespace drover::vm
