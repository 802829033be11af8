// UFFDIO_MOVE and huge pages (mm/userfaultfd.c, move_splits_huge_pmd; mm/huge_memory.c,
// move_pages_huge_pmd).
#include "conformance/suite.h"
#include "flow/self_test.h"

namespace drover::conformance {
namespace {
constexpr uint64_t kHalf = kPagesPerHuge / 2;
}  // namespace

TEST_P(Conformance, AHugePageMovesWhole) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = MapHugeTarget();
  const uint64_t frame = Entry(source + 5 * kPageBytes).frame();
  ExpectMoves(target, source, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(target));
  EXPECT_EQ(Entry(target + 5 * kPageBytes).frame(), frame);
  ExpectFilled(target, kPagesPerHuge, source);
}

TEST_P(Conformance, AHugePageMovesWholeIntoAMappingThatDidNotAskForOne) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = MapTarget(kPagesPerHuge);
  ExpectMoves(target, source, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(target));
}

TEST_P(Conformance, AHugePageGoesOutAndInAgain) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t live = MapHuge(), area = MapHugeTarget();
  ASSERT_EQ(kernel_.Register({live, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  EXPECT_TRUE(IsHuge(live));
  ExpectMoves(area, live, kPagesPerHuge);
  ExpectMoves(live, area, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(live));
  ExpectFilled(live, kPagesPerHuge, live);
}

TEST_P(Conformance, APartOfAHugePageSplitsIt) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = MapHugeTarget();
  ExpectMoves(target + kPageBytes, source + kPageBytes, 3);
  EXPECT_FALSE(IsHuge(source));
  EXPECT_EQ(CountPresent(source, kPagesPerHuge), kPagesPerHuge - 3);
  ExpectFilled(target + kPageBytes, 3, source + kPageBytes);
  ExpectFilled(source + kHalf * kPageBytes, kHalf, source + kHalf * kPageBytes);
}

TEST_P(Conformance, TheFirstHalfOfAHugePageSplitsIt) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = MapHugeTarget();
  ExpectMoves(target, source, kHalf);
  EXPECT_FALSE(IsHuge(target));
  EXPECT_FALSE(IsHuge(source + kHalf * kPageBytes));
}

TEST_P(Conformance, AnotherOffsetSplitsAHugePage) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = MapTarget(2 * kPagesPerHuge);
  ExpectMoves(target + kPageBytes, source, kPagesPerHuge);
  EXPECT_FALSE(IsHuge(target + kPageBytes));
  ExpectFilled(target + kPageBytes, kPagesPerHuge, source);
}

// A slot that has held small pages keeps its page table, and a huge page is split there.
TEST_P(Conformance, AnEmptiedPageTableSplitsAHugePage) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t small = MapFilled(1), slot = MapHugeTarget(), huge = MapHuge();
  const uint64_t elsewhere = MapTarget(1);
  ExpectMoves(slot, small, 1);
  ExpectMoves(elsewhere, slot, 1);
  EXPECT_EQ(CountPresent(slot, kPagesPerHuge), 0u);
  ExpectMoves(slot, huge, kPagesPerHuge);
  EXPECT_FALSE(IsHuge(slot));
  ExpectFilled(slot, kPagesPerHuge, huge);
}

TEST_P(Conformance, ARefusedMoveLeavesAPageTable) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kPins);
  const uint64_t small = MapFilled(1), slot = MapHugeTarget(), huge = MapHuge();
  world_->Pin({small, kPageBytes});
  ExpectRefused(Errno::kBusy, slot, small, 1);
  ExpectMoves(slot, huge, kPagesPerHuge);
  EXPECT_FALSE(IsHuge(slot));
}

TEST_P(Conformance, DontNeedOfAWholeSlotFreesItsPageTable) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kPageTableReclaim);
  const uint64_t slot = MapFilled(kPagesPerHuge), huge = MapHuge();
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kDontNeed), Errno::kOk);
  ASSERT_EQ(kernel_.Register({slot, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectMoves(slot, huge, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(slot));
}

TEST_P(Conformance, DontNeedOfAnEmptiedSlotFreesItsPageTable) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kPageTableReclaim);
  const uint64_t slot = MapFilled(kPagesPerHuge), elsewhere = MapTarget(kPagesPerHuge);
  ExpectMoves(elsewhere, slot, kPagesPerHuge);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kDontNeed), Errno::kOk);
  ASSERT_EQ(kernel_.Register({slot, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectMoves(slot, MapHuge(), kPagesPerHuge);
  EXPECT_TRUE(IsHuge(slot));
}

TEST_P(Conformance, DontNeedOfAPartOfASlotKeepsItsPageTable) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t slot = MapFilled(kPagesPerHuge), huge = MapHuge();
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes - kPageBytes}, Advice::kDontNeed), Errno::kOk);
  ASSERT_EQ(kernel_.Advise({slot + kHugeBytes - kPageBytes, kPageBytes}, Advice::kDontNeed),
            Errno::kOk);
  ASSERT_EQ(kernel_.Register({slot, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectMoves(slot, huge, kPagesPerHuge);
  EXPECT_FALSE(IsHuge(slot));
}

TEST_P(Conformance, AHugePageOccupiesItsSlot) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t target = MapHuge(), huge = MapHuge(), small = MapFilled(1);
  ASSERT_EQ(kernel_.Register({target, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectRefused(Errno::kExists, target, huge, kPagesPerHuge);
  ExpectRefused(Errno::kExists, target + kPageBytes, small, 1);
  ExpectRefused(Errno::kExists, target, world_->Map(kPageBytes), 1);
  EXPECT_TRUE(IsHuge(target));
  EXPECT_EQ(kernel_.ZeroPage(target + kPageBytes), Errno::kExists);
  EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, target + kPageBytes, small), Errno::kExists);
}

TEST_P(Conformance, APinnedHugePageStaysWhole) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kPins);
  const uint64_t source = MapHuge(), target = MapHugeTarget();
  world_->Pin({source + 7 * kPageBytes, kPageBytes});
  ExpectRefused(Errno::kBusy, target, source, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(source));
  world_->Unpin({source + 7 * kPageBytes, kPageBytes});
  ExpectMoves(target, source, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(target));
}

TEST_P(Conformance, APartOfAPinnedHugePageIsRefusedAndSplits) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kRefusesParts);
  DROVER_NEEDS(Ability::kPins);
  const uint64_t source = MapHuge(), target = MapHugeTarget();
  world_->Pin({source + kHalf * kPageBytes, kPageBytes});  // outside what is moved
  ExpectRefused(Errno::kBusy, target, source, 1);
  EXPECT_FALSE(IsHuge(source));
  EXPECT_EQ(CountPresent(source, kPagesPerHuge), kPagesPerHuge);
  ExpectFilled(source, kPagesPerHuge, source);
}

TEST_P(Conformance, ASharedHugePageIsRefusedWhole) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t source = MapHuge(), target = world_->Map(kHugeBytes);
  Fork().reset();
  ASSERT_EQ(kernel_.Register({target, kHugeBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectRefused(Errno::kBusy, target, source, kPagesPerHuge);
  ExpectRefused(Errno::kBusy, target, source, 1);
  EXPECT_TRUE(IsHuge(source));
  ASSERT_EQ(kernel_.Advise({source, kHugeBytes}, Advice::kPopulateWrite), Errno::kOk);
  EXPECT_TRUE(IsHuge(source));
  ExpectMoves(target, source, kPagesPerHuge);
  EXPECT_TRUE(IsHuge(target));
}

TEST_P(Conformance, ADiscardOfAPartSplitsAHugePage) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t page = MapHuge();
  ASSERT_EQ(kernel_.Advise({page + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  EXPECT_FALSE(IsHuge(page));
  EXPECT_EQ(CountPresent(page, kPagesPerHuge), kPagesPerHuge - 1);
  const uint64_t target = MapHugeTarget();
  ExpectMoves(target, page, 1);
}

TEST_P(Conformance, RegisteringAPartSplitsAHugePage) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t page = MapHuge();
  ASSERT_EQ(kernel_.Register({page, 4 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  EXPECT_FALSE(IsHuge(page));
  EXPECT_EQ(CountPresent(page, kPagesPerHuge), kPagesPerHuge);
}

TEST_P(Conformance, PopulateBringsAHugePage) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t slot = world_->Map(kHugeBytes);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kHugePage), Errno::kOk);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kPopulateWrite), Errno::kOk);
  EXPECT_TRUE(IsHuge(slot));
  EXPECT_EQ(CountPresent(slot, kPagesPerHuge), kPagesPerHuge);
}

TEST_P(Conformance, AReadBringsAHugeZeroPage) {
  DROVER_NEEDS(Ability::kHugePages);
  DROVER_NEEDS(Ability::kZeroPages);
  const uint64_t slot = world_->Map(kHugeBytes);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kHugePage), Errno::kOk);
  EXPECT_EQ(world_->ReadWord(slot), 0u);
  EXPECT_TRUE(IsZero(slot));
  EXPECT_TRUE(IsHuge(slot + 100 * kPageBytes));  // never to be handed to MOVE
}

// What the flow builds on, in one go: the test that newer kernels have to pass before the own path.
TEST_P(Conformance, TheSelfTestPasses) {
  EXPECT_EQ(flow::SelfTest(kernel_), flow::SelfTestStep::kNone);
  EXPECT_FALSE(kernel_.ReadMessage().has_value()) << "it has raised an event";
}

}  // namespace drover::conformance
