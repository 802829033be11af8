// What UFFDIO_MOVE does: contents, frames, partial progress, waiters.
#include "conformance/suite.h"

namespace drover::conformance {

TEST_P(Conformance, MoveCarriesThePagesThemselves) {
  const uint64_t source = MapFilled(100), target = MapTarget(100);
  std::vector<uint64_t> frames;
  for (uint64_t i = 0; i < 100; ++i) frames.push_back(Entry(source + i * kPageBytes).frame());
  ExpectMoves(target, source, 100);
  ExpectFilled(target, 100, source);
  for (uint64_t i = 0; i < 100; ++i)
    EXPECT_EQ(Entry(target + i * kPageBytes).frame(), frames[i]) << i;
}

TEST_P(Conformance, MoveLeavesNothingBehind) {
  const uint64_t source = MapFilled(1), target = MapTarget(1);
  ExpectMoves(target, source, 1);
  EXPECT_FALSE(Entry(source).holds_page());
  EXPECT_FALSE(Entry(source).guard());
  EXPECT_EQ(world_->ReadWord(source), 0u);  // not registered: the zero page
  EXPECT_TRUE(Entry(target).holds_page());
  EXPECT_TRUE(Entry(target).exclusive());
  EXPECT_FALSE(Entry(target).file_or_shared());
  world_->WriteWord(target, 5);
  EXPECT_EQ(world_->ReadWord(target), 5u);
}

TEST_P(Conformance, MoveGoesThereAndBack) {
  const uint64_t live = MapFilled(64), area = MapTarget(64);
  ASSERT_EQ(kernel_.Register({live, 64 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  ExpectMoves(area, live, 64);
  ExpectMoves(live, area, 64);
  ExpectFilled(live, 64, live);
}

TEST_P(Conformance, MoveMakesTheZeroPageAnew) {
  DROVER_NEEDS(Ability::kZeroPages);
  const uint64_t source = world_->Map(kPageBytes), target = MapTarget(1);
  ASSERT_EQ(kernel_.Advise({source, kPageBytes}, Advice::kNoHugePage), Errno::kOk);
  EXPECT_EQ(world_->ReadWord(source), 0u);
  EXPECT_TRUE(IsZero(source));
  ExpectMoves(target, source, 1);
  EXPECT_TRUE(IsZero(target));
  world_->WriteWord(target, 3);
  EXPECT_FALSE(IsZero(target));
}

TEST_P(Conformance, PartialProgressIsAlwaysAgain) {
  DROVER_NEEDS(Ability::kPins);
  const uint64_t source = MapFilled(4), target = MapTarget(4);
  world_->Pin({source + 2 * kPageBytes, kPageBytes});
  const MoveAnswer answer = kernel_.Move(target, source, 4 * kPageBytes);
  EXPECT_EQ(answer.error, Errno::kAgain);
  EXPECT_EQ(answer.bytes, 2 * kPageBytes);
  ExpectRefused(Errno::kBusy, target + 2 * kPageBytes, source + 2 * kPageBytes, 2);
  EXPECT_EQ(CountPresent(target, 4), 2u);
  EXPECT_EQ(CountPresent(source, 4), 2u);
  ExpectFilled(target, 2, source);
}

TEST_P(Conformance, AHoleStopsAMove) {
  const uint64_t source = MapFilled(4), target = MapTarget(4);
  ASSERT_EQ(kernel_.Advise({source + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  const MoveAnswer answer = kernel_.Move(target, source, 4 * kPageBytes);
  EXPECT_EQ(answer.error, Errno::kAgain);
  EXPECT_EQ(answer.bytes, kPageBytes);
  ExpectRefused(Errno::kNoEntry, target + kPageBytes, source + kPageBytes, 3);
  ExpectMoves(target + 2 * kPageBytes, source + 2 * kPageBytes, 2);
}

TEST_P(Conformance, AnOccupiedTargetStopsAMove) {
  const uint64_t source = MapFilled(3), target = MapTarget(3);
  ASSERT_EQ(kernel_.ZeroPage(target + 2 * kPageBytes), Errno::kOk);
  const MoveAnswer answer = kernel_.Move(target, source, 3 * kPageBytes);
  EXPECT_EQ(answer.error, Errno::kAgain);
  EXPECT_EQ(answer.bytes, 2 * kPageBytes);
  ExpectRefused(Errno::kExists, target + 2 * kPageBytes, source + 2 * kPageBytes, 1);
}

// ---- waiters

TEST_P(Conformance, AReaderWaitsForTheMove) {
  const uint64_t source = MapFilled(1), live = MapTarget(1);
  Activity& reader = Keep(world_->StartTouch(live + 16, false));
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kFault);
  EXPECT_EQ(message.address, live);
  EXPECT_NE(message.thread, 0);
  EXPECT_FALSE(reader.Done());
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);  // it tells once
  EXPECT_FALSE(Entry(live).holds_page());
  ExpectMoves(live, source, 1);
  reader.Wait();
  ExpectFilled(live, 1, source);
}

TEST_P(Conformance, AWriterWaitsForTheMove) {
  const uint64_t source = MapFilled(1), live = MapTarget(1);
  Activity& writer = Keep(world_->StartTouch(live + 16, true));
  EXPECT_EQ(Next().address, live);
  ExpectMoves(live, source, 1);
  writer.Wait();
  ExpectFilled(live, 1, source);
}

TEST_P(Conformance, EveryWaiterTells) {
  const uint64_t live = MapTarget(1);
  Activity& one = Keep(world_->StartTouch(live, false));
  Activity& other = Keep(world_->StartTouch(live + 64, true));
  EXPECT_EQ(Next().address, live);
  EXPECT_EQ(Next().address, live);
  ASSERT_EQ(kernel_.ZeroPage(live), Errno::kOk);
  one.Wait();
  other.Wait();
}

TEST_P(Conformance, AWokenWaiterOfAHoleFaultsAgain) {
  const uint64_t live = MapTarget(1);
  Activity& reader = Keep(world_->StartTouch(live, false));
  EXPECT_EQ(Next().address, live);
  EXPECT_EQ(kernel_.Wake({live, kPageBytes}), Errno::kOk);
  EXPECT_EQ(Next().address, live);
  ASSERT_EQ(kernel_.ZeroPage(live), Errno::kOk);
  reader.Wait();
  EXPECT_EQ(kernel_.ZeroPage(live), Errno::kExists);
  EXPECT_EQ(world_->ReadWord(live), 0u);
}

TEST_P(Conformance, WithTheAnswerAnUnreadMessageGoes) {
  const uint64_t live = MapTarget(1);
  Activity& reader = Keep(world_->StartTouch(live, false));
  kernel_.WaitForMessage();
  ASSERT_EQ(kernel_.ZeroPage(live), Errno::kOk);
  reader.Wait();
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
}

TEST_P(Conformance, AWaiterOutsideTheMoveWaitsOn) {
  const uint64_t source = MapFilled(1), live = MapTarget(2);
  Activity& reader = Keep(world_->StartTouch(live + kPageBytes, false));
  EXPECT_EQ(Next().address, live + kPageBytes);
  ExpectMoves(live, source, 1);
  EXPECT_FALSE(reader.Done());
  ASSERT_EQ(kernel_.ZeroPage(live + kPageBytes), Errno::kOk);
  reader.Wait();
}

TEST_P(Conformance, UnregisterLetsWaitersReadZeros) {
  const uint64_t live = MapTarget(1);
  Activity& reader = Keep(world_->StartTouch(live, false));
  EXPECT_EQ(Next().address, live);
  ASSERT_EQ(kernel_.Unregister({live, kPageBytes}), Errno::kOk);
  reader.Wait();
  EXPECT_EQ(world_->ReadWord(live), 0u);
}

TEST_P(Conformance, ForWriteProtectionOnlyAReaderOfTheHoleGetsZeros) {
  const uint64_t source = MapFilled(1), live = world_->Map(kPageBytes);
  ASSERT_EQ(kernel_.Register({live, kPageBytes}, RegisterMode::kWriteProtect), Errno::kOk);
  EXPECT_EQ(world_->ReadWord(live), 0u);
  ExpectRefused(Errno::kExists, live, source, 1);
}

TEST_P(Conformance, InterruptEndsAWait) {
  kernel_.InterruptWait();
  kernel_.WaitForMessage();
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
}

// ---- filling

TEST_P(Conformance, CopyFillsAHole) {
  const uint64_t source = MapFilled(1), live = MapTarget(2);
  ASSERT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live, source), Errno::kOk);
  ExpectFilled(live, 1, source);
  ExpectFilled(source, 1, source);
  EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live, source), Errno::kExists);
  EXPECT_NE(Entry(live).frame(), Entry(source).frame());
}

// Up to what is there already; a further call says what is in the way.
TEST_P(Conformance, FillStopsAtWhatIsThere) {
  const uint64_t source = MapFilled(4), live = MapTarget(4);
  const uint64_t taken = live + 2 * kPageBytes;
  ASSERT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, taken, source), Errno::kOk);
  const auto part = kernel_.Fill(live, source, 4 * kPageBytes);
  EXPECT_EQ(part.error, Errno::kAgain);
  EXPECT_EQ(part.bytes, 2 * kPageBytes);
  ExpectFilled(live, 2, source);
  const auto none = kernel_.Fill(taken, source, 2 * kPageBytes);
  EXPECT_EQ(none.error, Errno::kExists);
  EXPECT_EQ(none.bytes, 0u);
  EXPECT_EQ(kernel_.Fill(taken + kPageBytes, source + 3 * kPageBytes, kPageBytes).error,
            Errno::kOk);
  ExpectFilled(source, 4, source);
}

TEST_P(Conformance, FillNeedsARegisteredMapping) {
  const uint64_t source = MapFilled(1), live = world_->Map(kPageBytes);
  EXPECT_EQ(kernel_.Fill(live, source, kPageBytes).error, Errno::kNoEntry);
  // Any mode will do, as the engine's pool has.
  ASSERT_EQ(kernel_.Register({live, kPageBytes}, RegisterMode::kWriteProtect), Errno::kOk);
  EXPECT_EQ(kernel_.Fill(live, source, kPageBytes).error, Errno::kOk);
  ExpectFilled(live, 1, source);
}

TEST_P(Conformance, CopyAndZeroPageNeedARegisteredMapping) {
  const uint64_t source = MapFilled(1), live = world_->Map(kPageBytes);
  EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live, source), Errno::kNoEntry);
  EXPECT_EQ(kernel_.ZeroPage(live), Errno::kNoEntry);
  Keep(world_->StartUnmap({live, kPageBytes})).Wait();
  EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live, source), Errno::kNoEntry);
  EXPECT_EQ(kernel_.ZeroPage(live), Errno::kNoEntry);
}

TEST_P(Conformance, CopyWakes) {
  const uint64_t source = MapFilled(1), live = MapTarget(1);
  Activity& reader = Keep(world_->StartTouch(live, false));
  EXPECT_EQ(Next().address, live);
  ASSERT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live, source), Errno::kOk);
  reader.Wait();
  ExpectFilled(live, 1, source);
}

TEST_P(Conformance, FillingNeedsWholePages) {
  const uint64_t source = MapFilled(1), live = MapTarget(1);
  EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live + 8, source), Errno::kInvalid);
  EXPECT_EQ(kernel_.ZeroPage(live + 8), Errno::kInvalid);
  EXPECT_EQ(kernel_.Wake({live, 0}), Errno::kInvalid);
}

}  // namespace drover::conformance
