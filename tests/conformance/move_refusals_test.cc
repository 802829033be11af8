// What UFFDIO_MOVE refuses, and how (mm/userfaultfd.c, move_pages and validate_move_areas).
#include "conformance/suite.h"

namespace drover::conformance {

TEST_P(Conformance, MoveRefusesBadArguments) {
  const uint64_t source = MapFilled(4), target = MapTarget(4);
  EXPECT_EQ(kernel_.Move(target + 1, source, kPageBytes).error, Errno::kInvalid);
  EXPECT_EQ(kernel_.Move(target, source + 8, kPageBytes).error, Errno::kInvalid);
  EXPECT_EQ(kernel_.Move(target, source, kPageBytes + 1).error, Errno::kInvalid);
  EXPECT_EQ(kernel_.Move(target, source, 0).error, Errno::kInvalid);
  EXPECT_EQ(kernel_.Move(target, source, 100).bytes, 0u);
  ExpectFilled(source, 4, source);
}

TEST_P(Conformance, MoveNeedsMappings) {
  const uint64_t source = MapFilled(1), target = MapTarget(1);
  const uint64_t gone = world_->Map(kPageBytes);
  Keep(world_->StartUnmap({gone, kPageBytes})).Wait();
  ExpectRefused(Errno::kNoEntry, gone, source, 1);
  ExpectRefused(Errno::kNoEntry, target, gone, 1);
}

TEST_P(Conformance, MoveStaysInOneMapping) {
  const uint64_t source = MapFilled(4), target = MapTarget(4);
  ExpectRefused(Errno::kInvalid, target + 2 * kPageBytes, source, 4);
  ExpectRefused(Errno::kInvalid, target, source + 2 * kPageBytes, 4);
  ExpectMoves(target, source, 4);
}

TEST_P(Conformance, MoveStaysInOneMappingWhereRightsDifferOnTheWay) {
  const uint64_t source = MapFilled(4), target = MapTarget(4);
  world_->Protect({source + 2 * kPageBytes, 2 * kPageBytes}, {true, false, false});
  ExpectRefused(Errno::kInvalid, target, source, 4);
  ExpectMoves(target, source, 2);
}

TEST_P(Conformance, MoveRefusesSharedAndFiles) {
  const uint64_t target = MapTarget(1);
  for (const Backing backing :
       {Backing::kSharedAnonymous, Backing::kPrivateFile, Backing::kSharedFile}) {
    const uint64_t source = world_->Map(kPageBytes, {}, backing);
    Fill(source, 1);
    ExpectRefused(Errno::kInvalid, target, source, 1);
    ExpectFilled(source, 1, source);
  }
}

TEST_P(Conformance, MoveRefusesSharedAndFileTargets) {
  const uint64_t source = MapFilled(1);
  for (const Backing backing :
       {Backing::kSharedAnonymous, Backing::kPrivateFile, Backing::kSharedFile}) {
    const uint64_t target = world_->Map(kPageBytes, {}, backing);
    ASSERT_EQ(kernel_.Register({target, kPageBytes}, RegisterMode::kMissing), Errno::kOk);
    ExpectRefused(Errno::kInvalid, target, source, 1);
  }
}

TEST_P(Conformance, MoveNeedsEqualRights) {
  const uint64_t target = MapTarget(1);
  ExpectRefused(Errno::kInvalid, target, MapFilled(1, {true, false, false}), 1);
  ExpectRefused(Errno::kInvalid, target, MapFilled(1, {true, true, true}), 1);
  ExpectRefused(Errno::kInvalid, target, MapFilled(1, {false, false, false}), 1);
  ExpectMoves(MapTarget(1, {true, true, true}), MapFilled(1, {true, true, true}), 1);
}

TEST_P(Conformance, MoveNeedsWritableMappings) {
  const uint64_t source = MapFilled(1, {true, false, false});
  const uint64_t target = MapTarget(1);
  world_->Protect({target, kPageBytes}, {true, false, false});
  ExpectRefused(Errno::kInvalid, target, source, 1);
}

TEST_P(Conformance, MoveNeedsEqualLocks) {
  const uint64_t source = MapFilled(1), target = MapTarget(1);
  world_->Lock({source, kPageBytes});
  ExpectRefused(Errno::kInvalid, target, source, 1);
  world_->Lock({target, kPageBytes});
  ExpectMoves(target, source, 1);
  ASSERT_EQ(kernel_.Unlock({target, kPageBytes}), Errno::kOk);
  ExpectRefused(Errno::kInvalid, source, target, 1);
}

TEST_P(Conformance, MoveNeedsARegisteredTarget) {
  const uint64_t source = MapFilled(1), target = world_->Map(kPageBytes);
  ExpectRefused(Errno::kInvalid, target, source, 1);
  ASSERT_EQ(kernel_.Register({target, kPageBytes}, RegisterMode::kWriteProtect), Errno::kOk);
  ExpectMoves(target, source, 1);
}

TEST_P(Conformance, MoveNeedsATargetRegisteredWithThisDescriptor) {
  const uint64_t source = MapFilled(1), target = world_->Map(kPageBytes);
  world_->RegisterElsewhere({target, kPageBytes});
  ExpectRefused(Errno::kInvalid, target, source, 1);
}

TEST_P(Conformance, MoveRefusesAnOccupiedTarget) {
  const uint64_t source = MapFilled(3), target = world_->Map(3 * kPageBytes);
  Fill(target, 1);
  ASSERT_EQ(kernel_.Register({target, 3 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectRefused(Errno::kExists, target, source, 1);
  ASSERT_EQ(kernel_.ZeroPage(target + kPageBytes), Errno::kOk);
  ExpectRefused(Errno::kExists, target + kPageBytes, source, 1);
  ExpectMoves(target + 2 * kPageBytes, source, 1);
  ExpectFilled(target, 1, target);
}

TEST_P(Conformance, MoveRefusesAnEmptySource) {
  const uint64_t never = world_->Map(kPageBytes), target = MapTarget(4);
  ExpectRefused(Errno::kNoEntry, target, never, 1);
  const uint64_t source = MapFilled(4);
  ExpectMoves(target, source, 1);
  ExpectRefused(Errno::kNoEntry, target + kPageBytes, source, 1);
}

TEST_P(Conformance, MoveLooksAtTheTargetPageFirst) {
  const uint64_t source = MapFilled(2), target = MapTarget(2);
  ExpectMoves(target, source, 1);
  ExpectRefused(Errno::kExists, target, source, 1);  // both: occupied, empty
  const uint64_t never = world_->Map(kPageBytes);
  ExpectRefused(Errno::kNoEntry, target, never, 1);  // but a source without a table comes first
}

TEST_P(Conformance, MoveRefusesGuards) {
  DROVER_NEEDS(Ability::kGuards);
  const uint64_t source = MapFilled(2), target = MapTarget(2);
  world_->Guard({source, kPageBytes});
  ExpectRefused(Errno::kFault, target, source, 1);
  world_->Guard({target + kPageBytes, kPageBytes});
  ExpectRefused(Errno::kExists, target + kPageBytes, source + kPageBytes, 1);
}

TEST_P(Conformance, MoveRefusesWhatAChildShares) {
  const uint64_t source = MapFilled(2), target = world_->Map(2 * kPageBytes);
  const auto child = Fork();
  ASSERT_EQ(kernel_.Register({target, 2 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectRefused(Errno::kBusy, target, source, 1);
  EXPECT_FALSE(Entry(source).exclusive());
  world_->WriteWord(source, First(source));  // copies
  EXPECT_TRUE(Entry(source).exclusive());
  ExpectMoves(target, source, 1);
  ASSERT_EQ(kernel_.Advise({source + kPageBytes, kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  ExpectMoves(target + kPageBytes, source + kPageBytes, 1);
  ExpectFilled(target, 2, source);
}

TEST_P(Conformance, MoveRefusesAfterTheChildUntilThePageIsWritten) {
  const uint64_t source = MapFilled(2), target = world_->Map(2 * kPageBytes);
  Fork().reset();
  ASSERT_EQ(kernel_.Register({target, 2 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  EXPECT_TRUE(Entry(source).exclusive());  // mapped once, and yet:
  ExpectRefused(Errno::kBusy, target, source, 1);
  // Without a copy, as a rule: the kernel copies where another CPU still holds the page in a list
  // of its own (mm/memory.c, wp_can_reuse_anon_folio), so the frame says nothing.
  ASSERT_EQ(kernel_.Advise({source, kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  ExpectMoves(target, source, 1);
  world_->WriteWord(source + kPageBytes, First(source + kPageBytes));
  ExpectMoves(target + kPageBytes, source + kPageBytes, 1);
  ExpectFilled(target, 2, source);
}

TEST_P(Conformance, MoveTakesWhatIsNotGivenToChildren) {
  const uint64_t source = MapFilled(1), target = world_->Map(kPageBytes);
  ASSERT_EQ(kernel_.Advise({source, kPageBytes}, Advice::kDontFork), Errno::kOk);
  const auto child = Fork();
  ASSERT_EQ(kernel_.Register({target, kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  EXPECT_TRUE(Entry(source).exclusive());
  ExpectMoves(target, source, 1);
  EXPECT_EQ(child->ReadWord(source), std::nullopt);
}

TEST_P(Conformance, MoveRefusesPinnedPages) {
  DROVER_NEEDS(Ability::kPins);
  const uint64_t source = MapFilled(2), target = MapTarget(2);
  world_->Pin({source, kPageBytes});
  ExpectRefused(Errno::kBusy, target, source, 1);
  EXPECT_TRUE(Entry(source).exclusive());  // pagemap does not tell
  ASSERT_EQ(kernel_.Advise({source, kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  ExpectRefused(Errno::kBusy, target, source, 1);
  ExpectMoves(target + kPageBytes, source + kPageBytes, 1);
  world_->Unpin({source, kPageBytes});
  ExpectMoves(target, source, 1);
  ExpectFilled(target, 2, source);
}

}  // namespace drover::conformance
