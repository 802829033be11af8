// --verify: wrong copies, and writes that the kernel makes to originals after they were copied.
#include <cstring>

#include "flow/world.h"

namespace drover::flow {
namespace {

class Verify : public testing::Test {
 protected:
  Verify() : world_(World::RoomForRings()) {}
  void TearDown() override { world_.CheckAll(); }

  Job ToSame() const {
    Job job = world_.ToSame();
    job.verify = true;
    return job;
  }
  uint64_t Late(LateFate fate) const {
    return world_.result.late_writes[static_cast<uint32_t>(fate)];
  }

  // A job, while a write to `address` is under way since before its page was isolated, through a
  // reference that nobody sees. It ends when the page has been remapped; then `meanwhile`.
  const JobResult& RunWithLateWrite(
      uint64_t address, std::byte value, const std::function<void()>& meanwhile = [] {}) {
    const uint64_t moves = world_.model.Calls(Call::kMove);
    bool ended = false;
    world_.model.SetHook([&, moves](Call call, uint64_t nth) {
      if (call == Call::kMove && nth == moves + 1)
        world_.app.StartForeignWrite(address, value, false);
      if (call != Call::kUnregister || ended || world_.model.Calls(Call::kMove) < moves + 2) return;
      ended = true;
      world_.app.FinishForeignWrites();
      meanwhile();
    });
    return world_.Run(ToSame());
  }

  static std::byte Other(uint64_t word) { return static_cast<std::byte>(~word & 0xff); }

  World world_;
};

TEST_F(Verify, ComparesEachPageAndFindsNothing) {
  const Range range = world_.MapFilled(1500);
  const auto before = world_.Frames(range);
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_moved, 1500u);
  EXPECT_EQ(result.pages_compared, 1500u);
  EXPECT_EQ(result.copied_again, 0u);
  for (const uint64_t late : result.late_writes) EXPECT_EQ(late, 0u);
  EXPECT_TRUE(world_.Relocated(range, before));
  EXPECT_GE(result.wall_ns, kKeptAtLeastNs) << "the originals were not kept";
}

TEST_F(Verify, ALateWriteIsCarriedOver) {
  const Range range = world_.MapFilled(16);
  const uint64_t word = range.start + 5 * kPageBytes + 80;
  const uint64_t before = *world_.app.ReadWord(word);
  const JobResult& result = RunWithLateWrite(word, Other(before));
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(Late(LateFate::kCarriedOver), 1u);
  ASSERT_EQ(result.late_named, 1u);
  EXPECT_EQ(result.late[0].address, word);
  EXPECT_EQ(result.late[0].bytes, 1u);
  EXPECT_EQ(*world_.app.ReadWord(word),
            (before & ~uint64_t{0xff}) | static_cast<uint64_t>(Other(before)));
  world_.Fill({range.start + 5 * kPageBytes, kPageBytes});
}

TEST_F(Verify, WithoutItALateWriteIsLost) {
  const Range range = world_.MapFilled(16);
  const uint64_t word = range.start + 5 * kPageBytes;
  const uint64_t before = *world_.app.ReadWord(word);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kMove && nth == moves + 1)
      world_.app.StartForeignWrite(word, Other(before), false);
    if (call == Call::kUnregister) world_.app.FinishForeignWrites();
  });
  world_.Run(world_.ToSame());
  EXPECT_EQ(*world_.app.ReadWord(word), before) << "the test shows nothing";
}

TEST_F(Verify, APageThatHasChangedSinceIsLeftAsItIs) {
  const Range range = world_.MapFilled(16);
  const Range page{range.start + 5 * kPageBytes, kPageBytes};
  const uint64_t before = *world_.app.ReadWord(page.start);
  const JobResult& result = RunWithLateWrite(page.start, Other(before), [&] { world_.Fill(page); });
  EXPECT_EQ(Late(LateFate::kConflict), 1u);
  ASSERT_EQ(result.late_named, 1u);
  EXPECT_EQ(result.late[0].address, page.start);
}

TEST_F(Verify, APageThatIsSharedSinceIsAConflict) {
  const Range range = world_.MapFilled(16);
  const Range page{range.start + 5 * kPageBytes, kPageBytes};
  const uint64_t before = *world_.app.ReadWord(page.start);
  uint64_t child = 0;
  RunWithLateWrite(page.start, Other(before), [&] { child = world_.app.Share(page); });
  EXPECT_EQ(Late(LateFate::kConflict), 1u);
  world_.app.EndChild(child);
}

TEST_F(Verify, APageThatWasUnmappedSinceIsGone) {
  const Range range = world_.MapFilled(16);
  const Range page{range.start + 5 * kPageBytes, kPageBytes};
  const uint64_t before = *world_.app.ReadWord(page.start);
  // Behind the registration: a discard that waits for nobody.
  bool discarded = false;
  const uint64_t moves = world_.model.Calls(Call::kMove);
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kMove && nth == moves + 1)
      world_.app.StartForeignWrite(page.start, Other(before), false);
    if (call != Call::kAdvise || discarded || world_.model.Calls(Call::kMove) < moves + 2) return;
    discarded = true;
    world_.app.FinishForeignWrites();
    world_.app.StartDiscard(page);
    world_.ExpectZeros(page);
  });
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.pages_moved, 16u);
  EXPECT_EQ(Late(LateFate::kGone), 1u);
}

TEST_F(Verify, ALateWriteIntoAHugePageIsCarriedOverAndThePageStaysWhole) {
  const Range range = world_.MapFilledHuge(2);
  const uint64_t word = range.start + 77 * kPageBytes + 8;
  const uint64_t before = *world_.app.ReadWord(word);
  const JobResult& result = RunWithLateWrite(word, Other(before));
  EXPECT_EQ(result.moved_huge, 2 * kPagesPerHuge);
  EXPECT_EQ(Late(LateFate::kCarriedOver), 1u);
  EXPECT_EQ(*world_.app.ReadWord(word),
            (before & ~uint64_t{0xff}) | static_cast<uint64_t>(Other(before)));
  EXPECT_TRUE(world_.WholeHuge(range.start));
  world_.Fill({RoundDown(word, kPageBytes), kPageBytes});
}

// Another write comes to the same original after the first one was carried over.
TEST_F(Verify, AnOriginalIsLookedAtAgainAfterALateWrite) {
  const Range range = world_.MapFilled(16);
  const uint64_t word = range.start + 5 * kPageBytes;
  const uint64_t before = *world_.app.ReadWord(word);
  const uint64_t moves = world_.model.Calls(Call::kMove);
  uint64_t ended = 0;
  world_.model.SetHook([&](Call call, uint64_t nth) {
    if (call == Call::kMove && nth == moves + 1)
      for (const uint64_t at : {word, word + 1})
        world_.app.StartForeignWrite(at, Other(before), false);
    // Behind the move-in of the batch, and behind that of the carrying over.
    const uint64_t moved = world_.model.Calls(Call::kMove) - moves;
    if (call != Call::kUnregister || moved != 2 * (ended + 1)) return;
    ++ended;
    world_.app.FinishForeignWrite();
  });
  world_.Run(ToSame());
  EXPECT_EQ(Late(LateFate::kCarriedOver), 2u);
  ASSERT_EQ(world_.result.late_named, 2u);
  EXPECT_EQ(world_.result.late[0].address, word);
  EXPECT_EQ(world_.result.late[1].address, word + 1);
  world_.Fill({RoundDown(word, kPageBytes), kPageBytes});
}

int wrong_copies = 0;

void CopyWronglyAtFirst(uint64_t target, uint64_t source, uint64_t length_bytes) {
  std::memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), length_bytes);
  for (uint64_t at = kPageBytes; at <= length_bytes && wrong_copies > 0; at += kPageBytes)
    --wrong_copies, ++*reinterpret_cast<uint8_t*>(target + at - 1);
}

TEST_F(Verify, AWrongCopyIsMadeAgainBeforeItIsSeen) {
  world_.MapFilled(16);
  wrong_copies = 3;
  world_.engine->copy = CopyWronglyAtFirst;
  const JobResult& result = world_.Run(ToSame());
  EXPECT_EQ(result.copied_again, 3u);
  EXPECT_EQ(result.pages_moved, 16u);
}

TEST_F(Verify, WhatIsKeptIsBounded) {
  constexpr uint64_t kPages = 3 * kKeptPagesMax / 2, kBatchPages = kBatchBytesDefault / kPageBytes;
  world_.MapFilled(kPages);
  const auto free = [&] { return world_.model.FreePages({0}) + world_.model.FreePages({1}); };
  const uint64_t at_first = free();
  uint64_t most = 0;
  world_.recorder.ask = [&](const JobResult&) {
    most = std::max(most, at_first - free());
    return Next::kGoOn;
  };
  EXPECT_EQ(world_.Run(ToSame()).pages_moved, kPages);
  EXPECT_GT(most, kKeptPagesMax / 2) << "nothing was kept";
  EXPECT_LE(most, kKeptPagesMax + 2 * kBatchPages);
}

TEST(VerifyWithoutRoom, TheOwnPathIsNotTaken) {
  World world;  // the model's addresses do not reach for what is kept
  const Range range = world.MapFilled(16);
  Job job = world.ToNode(1);
  job.verify = true;
  const JobResult& result = world.Run(job);
  EXPECT_EQ(result.own_path_trouble, Trouble::kNoMemory);
  EXPECT_EQ(result.moved_kernel_path + result.pages_already_there, 16u);
  EXPECT_EQ(world.NodeOf(range.start), 1);
  world.CheckAll();
}

}  // namespace
}  // namespace drover::flow
