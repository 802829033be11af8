// drover exchange, between nodes that are both full.
#include <gtest/gtest.h>

#include "vm/hog.h"
#include "vm/moves.h"
#include "vm/started_victim.h"

namespace drover::vm {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class Exchanged : public testing::Test {
 protected:
  static PageRange FirstHalf(PageRange range) { return {range.start, range.bytes / 2}; }
  static PageRange SecondHalf(PageRange range) {
    return {range.start + range.bytes / 2, range.bytes / 2};
  }
  // Its second half comes to node 1.
  void Divide(PageRange range) {
    ASSERT_TRUE(ExpectTruthful(
        Move(victim_.pid(), {"--to", "1", "--range", RangeWord(SecondHalf(range))})));
  }
  live::Outcome ExchangeHalves(PageRange range) {
    return Exchange(victim_.pid(), {"--range", RangeWord(FirstHalf(range)), "--with",
                                    RangeWord(SecondHalf(range)), "--max-stall", "none"});
  }
  // But for those that stay: control blocks, a page in use.
  static void ExpectMostOn(int pid, PageRange range, int node) {
    EXPECT_GE(Count(NodesOf(pid, range))[node], range.pages() * 98 / 100);
  }

  explicit Exchanged(const char* small_mib = "80", const char* huge_mib = "48")
      : victim_{
            With::kAgent,
            {"--node", "0", "--small-mib", small_mib, "--huge-mib", huge_mib, "--threads", "2"}} {}

  StartedVictim victim_;
};

class ExchangedLittle : public Exchanged {
 protected:
  ExchangedLittle() : Exchanged("4", "0") {}
};

TEST_F(Exchanged, HalvesChangePlacesWhereNeitherWouldFit) {
  ASSERT_NE(victim_.pid(), 0);
  const uint64_t huge_pages = HugePages(victim_.pid(), victim_.huge());
  Divide(victim_.small());
  Divide(victim_.huge());
  const Hog zero(0, 60 * kMiB), one(1, 60 * kMiB);
  ASSERT_TRUE(zero.full() && one.full());
  live::ExpectRefused(
      Move(victim_.pid(), {"--to", "1", "--range", RangeWord(FirstHalf(victim_.small()))}), 4,
      "would have to come to node 1");
  for (const PageRange range : {victim_.small(), victim_.huge()}) {
    const auto outcome = ExchangeHalves(range);
    ASSERT_TRUE(ExpectTruthful(outcome));
    const auto json = outcome.json();
    EXPECT_GE(json["by_path"]["own"].get<uint64_t>(), range.pages() * 98 / 100) << outcome.out;
    EXPECT_GE(json["pages_reused"].get<uint64_t>(), range.pages() * 90 / 100) << outcome.out;
    ExpectMostOn(victim_.pid(), FirstHalf(range), 1);
    ExpectMostOn(victim_.pid(), SecondHalf(range), 0);
  }
  EXPECT_EQ(HugePages(victim_.pid(), victim_.huge()), huge_pages);
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(ExchangedLittle, RangesOnOneNodeHaveNothingToExchange) {
  ASSERT_NE(victim_.pid(), 0);
  live::ExpectRefused(ExchangeHalves(victim_.small()), 2, "on node 0");
  EXPECT_EQ(victim_.End(), 0);
}

TEST_F(ExchangedLittle, APlanSaysSo) {
  ASSERT_NE(victim_.pid(), 0);
  Divide(victim_.small());
  const auto plan = Exchange(
      victim_.pid(), {"--range", RangeWord(FirstHalf(victim_.small())), "--with",
                      RangeWord(SecondHalf(victim_.small())), "--dry-run", "--max-stall", "none"});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_EQ(plan.json()["pages_to_move"], victim_.small().pages()) << plan.out;
  ExpectMostOn(victim_.pid(), FirstHalf(victim_.small()), 0);
  EXPECT_EQ(victim_.End(), 0);
}

// By the kernel path, which takes free memory.
TEST(ExchangedWithoutAnAgent, HalvesChangePlaces) {
  StartedVictim victim(With::kNoAgent, {"--node", "0", "--small-mib", "8", "--huge-mib", "0"});
  ASSERT_NE(victim.pid(), 0);
  const PageRange first{victim.small().start, victim.small().bytes / 2};
  const PageRange second{first.start + first.bytes, first.bytes};
  ASSERT_TRUE(ExpectTruthful(Move(victim.pid(), {"--to", "1", "--range", RangeWord(second)})));
  const auto outcome =
      Exchange(victim.pid(), {"--range", RangeWord(first), "--with", RangeWord(second)});
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_EQ(Count(NodesOf(victim.pid(), first))[1], first.pages());
  EXPECT_EQ(Count(NodesOf(victim.pid(), second))[0], second.pages());
  EXPECT_EQ(victim.End(), 0);
}

}  // namespace
}  // namespace drover::vm
