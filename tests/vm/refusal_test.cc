// Targets that are not to be had: said in one line, with the way out, and nothing is touched.
#include <gtest/gtest.h>

#include "vm/hog.h"
#include "vm/moves.h"
#include "vm/started_victim.h"

namespace drover::vm {
namespace {

class Refusal : public testing::TestWithParam<With> {};
INSTANTIATE_TEST_SUITE_P(Agents, Refusal, testing::Values(With::kAgent, With::kNoAgent),
                         [](const auto& chosen) {
                           return chosen.param == With::kAgent ? "WithAgent" : "WithoutAgent";
                         });

TEST_P(Refusal, ANodeThatIsTooFull) {
  StartedVictim victim(GetParam(),
                       {"--node", "0", "--small-mib", "48", "--huge-mib", "48", "--threads", "0"});
  ASSERT_NE(victim.pid(), 0);
  const Hog hog(1, uint64_t{80} << 20);  // the kernel keeps some 40 MiB of it to itself
  ASSERT_TRUE(hog.full());
  const auto small_before = NodesOf(victim.pid(), victim.small());
  const auto huge_before = NodesOf(victim.pid(), victim.huge());
  live::ExpectRefused(Move(victim.pid(), {"--to", "1"}), 4, "would have to come to node 1");
  EXPECT_EQ(NodesOf(victim.pid(), victim.small()), small_before);
  EXPECT_EQ(NodesOf(victim.pid(), victim.huge()), huge_before);
  // The message's own way out: less.
  const PageRange little{victim.small().start, uint64_t{2} << 20};
  const auto outcome = Move(victim.pid(), {"--to", "1", "--range", RangeWord(little)});
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
  EXPECT_EQ(Count(NodesOf(victim.pid(), little))[1], little.pages());
  EXPECT_EQ(victim.End(), 0);
}

TEST_P(Refusal, ANodeThatDoesNotExist) {
  StartedVictim victim(GetParam(), {"--node", "0", "--small-mib", "1", "--huge-mib", "2"});
  ASSERT_NE(victim.pid(), 0);
  live::ExpectRefused(Move(victim.pid(), {"--to", "2"}), 4, "node 2 does not exist");
  live::ExpectRefused(Move(victim.pid(), {"--from", "7", "--to", "1"}), 4, "node 7 does not exist");
  ExpectOnNode(victim.pid(), victim.small(), 0);
  ExpectOnNode(victim.pid(), victim.huge(), 0);
  EXPECT_EQ(victim.End(), 0);
}

}  // namespace
}  // namespace drover::vm
