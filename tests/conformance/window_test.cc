// What the application can do while its pages are out: events, and changes without one
// (fs/userfaultfd.c; mm/userfaultfd.c).
#include "conformance/suite.h"

namespace drover::conformance {
namespace {

constexpr uint64_t kPages = 8;
constexpr uint64_t kBytes = kPages * kPageBytes;

class Window : public Conformance {
 protected:
  // Filled, registered, and out: in `area_`.
  void Open() {
    live_ = MapFilled(kPages);
    area_ = world_->Map(kBytes);
    ASSERT_EQ(kernel_.Advise({area_, kBytes}, Advice::kDontFork), Errno::kOk);
    ASSERT_EQ(kernel_.Register({live_, kBytes}, RegisterMode::kMissing), Errno::kOk);
    ASSERT_EQ(kernel_.Register({area_, kBytes}, RegisterMode::kWriteProtect), Errno::kOk);
    ExpectMoves(area_, live_, kPages);
  }
  // A change is under way until its event has been read.
  void ExpectChanging() {
    kernel_.WaitForMessage();
    ExpectRefused(Errno::kAgain, live_, area_, 1);
    EXPECT_EQ(kernel_.CopyPage(kernel::kOwnUserfault, live_, area_), Errno::kAgain);
    EXPECT_EQ(kernel_.ZeroPage(live_), Errno::kAgain);
  }
  Errno CopyBack(uint64_t page) {
    const uint64_t offset = page * kPageBytes;
    return kernel_.CopyPage(kernel::kOwnUserfault, live_ + offset, area_ + offset);
  }

  uint64_t live_ = 0, area_ = 0;
};

TEST_P(Window, ADiscardWaitsUntilItsEventIsRead) {
  Open();
  Activity& discard = Keep(world_->StartDiscard({live_ + kPageBytes, 2 * kPageBytes}));
  ExpectChanging();
  EXPECT_FALSE(discard.Done());
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kRemove);
  EXPECT_EQ(message.address, live_ + kPageBytes);
  EXPECT_EQ(message.length, 2 * kPageBytes);
  discard.Wait();
  ExpectMoves(live_, area_, kPages);  // nothing holds the discarded pages off
  ExpectFilled(live_, kPages, live_);
}

TEST_P(Window, ADiscardTakesEffectAfterItsEventOnly) {
  const uint64_t live = MapFilled(2);
  ASSERT_EQ(kernel_.Register({live, 2 * kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  Activity& discard = Keep(world_->StartDiscard({live, kPageBytes}));
  kernel_.WaitForMessage();
  EXPECT_TRUE(Present(live));
  EXPECT_EQ(Next().kind, Message::Kind::kRemove);
  discard.Wait();
  EXPECT_FALSE(Entry(live).holds_page());
  EXPECT_TRUE(Present(live + kPageBytes));
}

TEST_P(Window, ADiscardOfWhatIsNotRegisteredIsNoEvent) {
  const uint64_t live = MapFilled(2);
  Keep(world_->StartDiscard({live, kPageBytes})).Wait();
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
  EXPECT_EQ(CountPresent(live, 2), 1u);
}

TEST_P(Window, FaultsComeBeforeEvents) {
  Open();
  Activity& discard = Keep(world_->StartDiscard({live_, kPageBytes}));
  kernel_.WaitForMessage();
  Activity& reader = Keep(world_->StartTouch(live_ + kPageBytes, false));
  // The event is there already; the fault is, when the reader has come that far.
  while (true) {
    const auto message = kernel_.ReadMessage();
    ASSERT_TRUE(message.has_value());
    if (message->kind == Message::Kind::kRemove) break;
    EXPECT_EQ(message->kind, Message::Kind::kFault);
  }
  discard.Wait();
  ExpectMoves(live_, area_, kPages);
  reader.Wait();
}

// What was watched for write protection: userfaultfd_register_range replaces the mode.
TEST_P(Window, AWatchCanChangeItsModeAndLeavesWhatIsThere) {
  Open();
  ExpectMoves(live_, area_, 1);
  ASSERT_EQ(kernel_.Register({area_, kBytes}, RegisterMode::kMissing), Errno::kOk);
  Activity& reader = Keep(world_->StartTouch(area_, false));
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kFault);
  EXPECT_EQ(message.address, area_);
  EXPECT_FALSE(reader.Done());
  EXPECT_EQ(kernel_.Unregister({area_, kBytes}), Errno::kOk);
  reader.Wait();
  EXPECT_EQ(CountPresent(area_ + kPageBytes, kPages - 1), kPages - 1);
  ExpectMoves(live_ + kPageBytes, area_ + kPageBytes, kPages - 1);
  ExpectFilled(live_, kPages, live_);
}

TEST_P(Window, AnUnmapIsToldAfterwards) {
  Open();
  Activity& unmap = Keep(world_->StartUnmap({live_, 2 * kPageBytes}));
  ExpectChanging();
  EXPECT_FALSE(unmap.Done());
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kUnmap);
  EXPECT_EQ(message.address, live_);
  EXPECT_EQ(message.length, 2 * kPageBytes);
  unmap.Wait();
  EXPECT_EQ(MovePages(live_, area_, kPages).error, Errno::kNoEntry);
  EXPECT_EQ(CopyBack(0), Errno::kNoEntry);
  ExpectMoves(live_ + 2 * kPageBytes, area_ + 2 * kPageBytes, kPages - 2);
}

TEST_P(Window, AMappingOverItIsNotRegistered) {
  Open();
  Activity& over = Keep(world_->StartMapOver({live_, kBytes}));
  ExpectChanging();
  EXPECT_EQ(Next().kind, Message::Kind::kUnmap);
  over.Wait();
  EXPECT_EQ(MovePages(live_, area_, 1).error, Errno::kInvalid);
  EXPECT_EQ(CopyBack(0), Errno::kNoEntry);
  EXPECT_EQ(world_->ReadWord(live_), 0u);
}

TEST_P(Window, ARemapTakesTheRegistrationAlong) {
  Open();
  uint64_t moved = 0;
  Activity& remap = Keep(world_->StartRemap({live_, kBytes}, &moved));
  ExpectChanging();
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kRemap);
  EXPECT_EQ(message.address, live_);
  EXPECT_EQ(message.target, moved);
  EXPECT_EQ(message.length, kBytes);
  // The kernel may raise an UNMAP of the old range, too.
  while (!remap.Done()) (void)kernel_.ReadMessage();
  remap.Wait();
  EXPECT_EQ(MovePages(live_, area_, 1).error, Errno::kNoEntry);
  ExpectMoves(moved, area_, kPages);
  ExpectFilled(moved, kPages, live_);
  EXPECT_EQ(kernel_.Unregister({moved, kBytes}), Errno::kOk);
}

TEST_P(Window, ARemapCarriesPages) {
  const uint64_t live = MapFilled(kPages);
  ASSERT_EQ(kernel_.Advise({live + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  uint64_t moved = 0;
  Keep(world_->StartRemap({live, kBytes}, &moved)).Wait();
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
  EXPECT_EQ(CountPresent(moved, kPages), kPages - 1);
  ExpectFilled(moved + 2 * kPageBytes, kPages - 2, live + 2 * kPageBytes);
}

TEST_P(Window, AChildsHolesAreFilledThroughItsDescriptor) {
  Open();
  Activity& fork = Keep(world_->StartFork());
  ExpectChanging();
  EXPECT_FALSE(fork.Done());
  const Message message = Next();
  EXPECT_EQ(message.kind, Message::Kind::kFork);
  ASSERT_GE(message.child, 0);
  fork.Wait();
  const auto child = world_->TakeChild();
  for (uint64_t i = 0; i < kPages - 1; ++i) {
    const uint64_t offset = i * kPageBytes;
    EXPECT_EQ(kernel_.CopyPage(message.child, live_ + offset, area_ + offset), Errno::kOk);
  }
  EXPECT_EQ(kernel_.CopyPage(message.child, live_, area_), Errno::kExists);
  EXPECT_EQ(child->ReadWord(live_), First(live_));
  kernel_.CloseChild(message.child, {live_, kBytes});
  EXPECT_EQ(child->ReadWord(live_ + kPageBytes), First(live_ + kPageBytes));
  EXPECT_EQ(child->ReadWord(live_ + kBytes - kPageBytes), 0u);  // what nobody has filled
  ExpectMoves(live_, area_, kPages);  // the area is not the child's, so it is not shared
  ExpectFilled(live_, kPages, live_);
  EXPECT_EQ(child->ReadWord(area_), std::nullopt);
}

TEST_P(Window, AForkSharesAnAreaThatIsNotKeptFromChildren) {
  const uint64_t live = MapTarget(1), area = MapFilled(1);
  Activity& fork = Keep(world_->StartFork());
  const Message message = Next();
  kernel_.CloseChild(message.child, {});
  fork.Wait();
  world_->TakeChild().reset();
  EXPECT_EQ(MovePages(live, area, 1).error, Errno::kBusy);
}

// ---- changes without an event

TEST_P(Window, OtherRightsStopTheMoveButNotTheCopy) {
  for (const Rights rights :
       {Rights{true, false, false}, Rights{false, false, false}, Rights{true, true, true}}) {
    Open();
    world_->Protect({live_, kBytes}, rights);
    EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
    ExpectRefused(Errno::kInvalid, live_, area_, kPages);
    for (uint64_t i = 0; i < kPages; ++i) EXPECT_EQ(CopyBack(i), Errno::kOk);
    world_->Protect({live_, kBytes}, {});
    ExpectFilled(live_, kPages, live_);
  }
}

TEST_P(Window, OtherRightsOfAPartLeaveTheRest) {
  Open();
  world_->Protect({live_ + 2 * kPageBytes, kPageBytes}, {true, false, false});
  ExpectRefused(Errno::kInvalid, live_, area_, kPages);
  const auto mapping = kernel_.NextMapping(live_);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->range, (Range{live_, 2 * kPageBytes}));
  ExpectMoves(live_, area_, 2);
  ExpectRefused(Errno::kInvalid, live_ + 2 * kPageBytes, area_ + 2 * kPageBytes, 1);
  EXPECT_EQ(CopyBack(2), Errno::kOk);
  ExpectMoves(live_ + 3 * kPageBytes, area_ + 3 * kPageBytes, kPages - 3);
  ExpectFilled(live_, kPages, live_);
}

TEST_P(Window, ALockStopsTheMoveButNotTheCopy) {
  Open();
  world_->Lock({live_, kBytes});
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
  ExpectRefused(Errno::kInvalid, live_, area_, kPages);
  for (uint64_t i = 0; i < kPages; ++i) EXPECT_EQ(CopyBack(i), Errno::kOk);
  ExpectFilled(live_, kPages, live_);
}

TEST_P(Window, AGuardStopsTheMoveAndIsDestroyedByACopy) {
  DROVER_NEEDS(Ability::kGuards);
  Open();
  world_->Guard({live_ + 3 * kPageBytes, kPageBytes});
  EXPECT_EQ(kernel_.ReadMessage().error(), Errno::kAgain);
  const MoveAnswer answer = kernel_.Move(live_, area_, kBytes);
  EXPECT_EQ(answer.error, Errno::kAgain);
  EXPECT_EQ(answer.bytes, 3 * kPageBytes);
  const uint64_t guarded = live_ + 3 * kPageBytes;
  ExpectRefused(Errno::kExists, guarded, area_ + 3 * kPageBytes, 1);
  EXPECT_EQ(kernel_.ZeroPage(guarded), Errno::kExists);
  EXPECT_TRUE(Entry(guarded).holds_page());
  EXPECT_FALSE(Entry(guarded).present());
  EXPECT_EQ(CopyBack(3), Errno::kOk);
  EXPECT_TRUE(Present(guarded));
  EXPECT_FALSE(Entry(guarded).guard());
  ExpectFilled(live_, 4, live_);
}

TEST_P(Window, PagemapTellsGuards) {
  DROVER_NEEDS(Ability::kGuards);
  DROVER_NEEDS(Ability::kGuardBit);
  Open();
  world_->Guard({live_, kPageBytes});
  EXPECT_TRUE(Entry(live_).guard());
  EXPECT_FALSE(Entry(live_ + kPageBytes).guard());
}

DROVER_IN_BOTH_WORLDS(Window);

}  // namespace
}  // namespace drover::conformance
