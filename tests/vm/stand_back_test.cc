// A program from which the own path stands back is moved by the kernel path, unharmed, and the plan
// says so before.
#include <gtest/gtest.h>
#include <signal.h>

#include "vm/moves.h"

namespace drover::vm {
namespace {

class StandsBack : public testing::TestWithParam<const char*> {};
// One of each way to be found out; all causes are tried on the host.
INSTANTIATE_TEST_SUITE_P(From, StandsBack, testing::Values("robust", "seccomp"),
                         [](const auto& chosen) { return std::string(chosen.param); });

TEST_P(StandsBack, AndTheKernelPathMovesTheProgramUnharmed) {
  constexpr uint64_t kPages = 512;
  live::Subject subject({live::Built("drover"), "run", "--"},
                        {"--mib", "2", "--threads", "2", "--uses", GetParam()});
  ASSERT_NE(subject.pid(), 0);
  uint64_t moved = 0;
  for (const char* node : {"1", "0"}) {
    const auto plan = Move(subject.pid(), {"--to", node, "--dry-run"}).json();
    const auto outcome = Move(subject.pid(), {"--to", node});
    ASSERT_TRUE(ExpectTruthful(outcome));
    const auto json = outcome.json();
    EXPECT_NE(json["own_path_refused"], "");
    EXPECT_EQ(json["by_path"]["own"], 0);
    // The scheduler may have started it on either node.
    EXPECT_GE(
        json["by_path"]["kernel"].get<uint64_t>() + json["pages_already_there"].get<uint64_t>(),
        kPages * 98 / 100);
    moved += json["by_path"]["kernel"].get<uint64_t>();
    EXPECT_EQ(plan["own_path_refused"], json["own_path_refused"]);
    EXPECT_EQ(plan["by_path"]["own"], 0);
  }
  EXPECT_GE(moved, kPages * 98 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

// The plan of a move to the other node, and what then happens.
TEST(Plan, SaysWhatThenHappens) {
  live::Subject subject({live::Built("drover"), "run", "--"}, {"--mib", "2", "--idle"});
  ASSERT_NE(subject.pid(), 0);
  for (const char* node : {"1", "0"}) {
    const auto plan = Move(subject.pid(), {"--to", node, "--dry-run"}).json();
    const auto done = Move(subject.pid(), {"--to", node}).json();
    EXPECT_EQ(plan["pages_requested"], done["pages_requested"]);
    EXPECT_EQ(plan["pages_already_there"], done["pages_already_there"]);
    EXPECT_EQ(plan["by_path"], done["by_path"]) << plan << done;
    EXPECT_TRUE(plan["seconds"].is_number()) << plan;
    EXPECT_EQ(plan["nodes"][0]["node"], node[0] - '0');
    EXPECT_GT(plan["nodes"][0]["bytes_free"], plan["nodes"][0]["bytes_to_come"]);
  }
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::vm
