// What only the models can do on command: the answers that the real kernel gives by chance, and the
// kernel that fails.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kernel/failing_kernel.h"
#include "kernel/model/model_kernel.h"

namespace drover::kernel {
namespace {

using model::Application;

constexpr uint64_t kPages = 8;
constexpr uint64_t kBytes = kPages * kPageBytes;
constexpr uint64_t kSeed = 7;

ModelKernel::Options TwoNodes() {
  ModelKernel::Options options;
  options.arena_bytes = uint64_t{64} << 20;
  options.node_count = 2;
  return options;
}

class Model : public testing::Test {
 protected:
  Model() : kernel_(TwoNodes()), application_(kernel_.application()) {
    live_ = application_.Map(kBytes);
    application_.Fill({live_, kBytes}, kSeed);
    area_ = kernel_.Map(kBytes).value();
    EXPECT_EQ(kernel_.Register({live_, kBytes}, RegisterMode::kMissing), Errno::kOk);
    EXPECT_EQ(kernel_.Register({area_, kBytes}, RegisterMode::kWriteProtect), Errno::kOk);
  }

  bool Present(uint64_t address) {
    PageEntry entry;
    EXPECT_EQ(kernel_.ReadEntries(address, {&entry, 1}), Errno::kOk);
    return entry.present();
  }
  int32_t NodeOf(uint64_t address) {
    int32_t node = 0;
    EXPECT_EQ(kernel_.QueryNodes({&address, 1}, {&node, 1}), Errno::kOk);
    return node;
  }

  ModelKernel kernel_;
  Application& application_;
  uint64_t live_ = 0, area_ = 0;
};

TEST_F(Model, MapGivesNoHugeAlignmentByLuck) {
  for (int i = 0; i < 8; ++i) EXPECT_NE(kernel_.Map(2 * kHugeBytes).value() % kHugeBytes, 0u);
}

// ---- denied moves

TEST_F(Model, ADeniedMoveMovesAndSaysExists) {
  kernel_.DenyNextMove();
  const MoveAnswer answer = kernel_.Move(area_, live_, kBytes);
  EXPECT_EQ(answer.error, Errno::kExists);
  EXPECT_EQ(answer.bytes, 0u);
  EXPECT_TRUE(Present(area_ + kBytes - kPageBytes));
  EXPECT_FALSE(Present(live_));
  EXPECT_EQ(kernel_.Move(live_, area_, kBytes).error, Errno::kOk);
  EXPECT_EQ(application_.CountWrong({live_, kBytes}, kSeed), 0u);
}

TEST_F(Model, ADeniedMoveCanUnderstate) {
  kernel_.DenyNextMove(2, 3 * kPageBytes);
  EXPECT_EQ(kernel_.Move(area_, live_, kPageBytes).error, Errno::kOk);
  const MoveAnswer answer =
      kernel_.Move(area_ + kPageBytes, live_ + kPageBytes, kBytes - kPageBytes);
  EXPECT_EQ(answer.error, Errno::kAgain);
  EXPECT_EQ(answer.bytes, 3 * kPageBytes);
  EXPECT_TRUE(Present(area_ + kBytes - kPageBytes));
}

TEST_F(Model, ADeniedMoveWakesNobody) {
  ASSERT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  const uint64_t reader = application_.StartTouch(live_, false);
  kernel_.DenyNextMove();
  EXPECT_EQ(kernel_.Move(live_, area_, kBytes).error, Errno::kExists);
  EXPECT_FALSE(application_.Finished(reader));
  EXPECT_EQ(kernel_.Wake({live_, kBytes}), Errno::kOk);
  EXPECT_TRUE(application_.Finished(reader));
}

// ---- discards

TEST_F(Model, ADiscardCanComeLongAfterItsEvent) {
  kernel_.SetDiscardDelay(2);
  const uint64_t discard = application_.StartDiscard({live_, kPageBytes});
  ASSERT_TRUE(kernel_.ReadMessage().has_value());
  EXPECT_EQ(kernel_.Move(area_, live_, kPageBytes).error, Errno::kOk);  // escapes it
  EXPECT_FALSE(application_.Finished(discard));
  EXPECT_EQ(kernel_.Move(live_, area_, kPageBytes).error, Errno::kOk);
  EXPECT_FALSE(application_.Finished(discard));
  (void)kernel_.Wake({live_, kPageBytes});
  EXPECT_TRUE(application_.Finished(discard));
  EXPECT_FALSE(Present(live_));
}

TEST_F(Model, AgainCanOutlastTheEvent) {
  kernel_.SetLingeringAgain(2);
  application_.StartDiscard({live_, kPageBytes});
  ASSERT_TRUE(kernel_.ReadMessage().has_value());
  EXPECT_EQ(kernel_.Move(area_ + kPageBytes, live_ + kPageBytes, kPageBytes).error, Errno::kAgain);
  EXPECT_EQ(kernel_.ZeroPage(live_), Errno::kAgain);
  EXPECT_EQ(kernel_.ZeroPage(live_), Errno::kOk);
}

TEST_F(Model, TheEngineMustNotDiscardWhatItWatches) {
  EXPECT_TRUE(kernel_.Complaints().empty());
  (void)kernel_.Advise({live_, kPageBytes}, Advice::kDontNeed);
  EXPECT_EQ(kernel_.Complaints().size(), 1u);
}

// ---- the application's threads

TEST_F(Model, RealThreadsWaitInHoles) {
  ASSERT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  uint64_t wrong = 1;
  std::thread reader([&] { wrong = application_.CountWrong({live_, kBytes}, kSeed); });
  kernel_.WaitForMessage();
  EXPECT_EQ(kernel_.ReadMessage()->address, live_);
  ASSERT_EQ(kernel_.Move(live_, area_, kBytes).error, Errno::kOk);
  reader.join();
  EXPECT_EQ(wrong, 0u);
}

TEST_F(Model, RightsAreChecked) {
  application_.Protect({live_, kPageBytes}, true, false, false);
  EXPECT_FALSE(application_.WriteWord(live_, 1));
  EXPECT_TRUE(application_.ReadWord(live_).has_value());
  EXPECT_EQ(application_.ReadWord(live_ - kPageBytes), std::nullopt);
}

TEST_F(Model, LockAllLocksTheEnginesAreas) {
  application_.LockAll();
  EXPECT_TRUE(Present(area_));  // watched for write protection only: filled
  EXPECT_EQ(kernel_.Advise({area_, kBytes}, Advice::kDontNeed), Errno::kInvalid);
}

TEST_F(Model, AHookActsBetweenCalls) {
  kernel_.SetHook([&](ModelKernel::Call call, uint64_t nth) {
    if (call == ModelKernel::Call::kMove && nth == 2)
      application_.Protect({live_, kBytes}, true, false, false);
  });
  EXPECT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  EXPECT_EQ(kernel_.Move(live_, area_, kBytes).error, Errno::kInvalid);
  EXPECT_EQ(kernel_.Calls(ModelKernel::Call::kMove), 2u);
}

TEST_F(Model, AWriteThroughAReferenceFollowsThePage) {
  application_.StartForeignWrite(live_ + 5, std::byte{42}, true);
  ASSERT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  const uint64_t spare = kernel_.Map(kPageBytes).value();
  ASSERT_EQ(kernel_.Protect({spare, kPageBytes}, true), Errno::kOk);  // waits for the writer
  EXPECT_EQ(*model::BytesAt(area_ + 5), std::byte{42});
  EXPECT_EQ(application_.ForeignWritesLost(), 0u);
}

TEST_F(Model, AWriteIntoAFreedPageIsLost) {
  application_.StartForeignWrite(live_ + 5, std::byte{42}, false);
  ASSERT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  ASSERT_EQ(kernel_.Unregister({area_, kBytes}), Errno::kOk);
  ASSERT_EQ(kernel_.Advise({area_, kBytes}, Advice::kDontNeed), Errno::kOk);
  application_.FinishForeignWrites();
  EXPECT_EQ(application_.ForeignWritesLost(), 1u);
}

TEST_F(Model, SwappedPagesMoveWithoutComingIn) {
  application_.SwapOut({live_, kPageBytes});
  ASSERT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
  PageEntry entry;
  ASSERT_EQ(kernel_.ReadEntries(area_, {&entry, 1}), Errno::kOk);
  EXPECT_TRUE(entry.swapped() && entry.holds_page() && !entry.present());
}

// ---- nodes

TEST_F(Model, AFullNodeGivesWayToTheOther) {
  const uint64_t pool = kernel_.Map(4 * kPageBytes).value();
  ASSERT_EQ(kernel_.PreferNode({pool, 4 * kPageBytes}, Node{1}), Errno::kOk);
  kernel_.SetFreePages(Node{1}, 2);
  ASSERT_EQ(kernel_.Advise({pool, 4 * kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  EXPECT_EQ(NodeOf(pool + kPageBytes), 1);
  EXPECT_EQ(NodeOf(pool + 2 * kPageBytes), 0);
  EXPECT_EQ(kernel_.FreePages(Node{1}), 0u);
  kernel_.Unmap({pool, 4 * kPageBytes});
  EXPECT_EQ(kernel_.FreePages(Node{1}), 2u);
}

TEST_F(Model, AFullNodeStopsMovePagesHalfway) {
  kernel_.SetFreePages(Node{1}, 6);
  std::vector<uint64_t> addresses;
  for (uint64_t i = 0; i < kPages; ++i) addresses.push_back(live_ + i * kPageBytes);
  const std::vector<int32_t> nodes(kPages, 1);
  std::vector<int32_t> status(kPages, -12345);
  EXPECT_EQ(kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn).error(),
            Errno::kNoMemory);
  EXPECT_EQ(status[0], -12345);
  EXPECT_EQ(NodeOf(live_ + 5 * kPageBytes), 1);
  EXPECT_EQ(NodeOf(live_ + 6 * kPageBytes), 0);
  EXPECT_EQ(application_.CountWrong({live_, kBytes}, kSeed), 0u);
}

TEST_F(Model, MovePagesTakesAHugePageByOneAddress) {
  Application::MapOptions options;
  options.huge_advised = true;
  const uint64_t huge = application_.Map(kHugeBytes, options);
  application_.Fill({huge, kHugeBytes}, kSeed);
  const uint64_t addresses[] = {huge, huge + kPageBytes};
  const int32_t nodes[] = {1, 1};
  int32_t status[] = {-12345, -12345};
  EXPECT_EQ(kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn), 0);
  EXPECT_EQ(status[0], 1);
  EXPECT_EQ(status[1], -EBUSY);
  EXPECT_EQ(NodeOf(huge + 511 * kPageBytes), 1);
}

TEST_F(Model, WithoutFreeBlocksThereAreSmallPagesOnly) {
  kernel_.SetHugePagesLeft(false);
  const uint64_t pool = kernel_.Map(2 * kHugeBytes).value();
  const uint64_t slot = RoundUp(pool, kHugeBytes);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kHugePage), Errno::kOk);
  ASSERT_EQ(kernel_.Advise({slot, kHugeBytes}, Advice::kPopulateWrite), Errno::kOk);
  PageRegion region;
  uint64_t walk_end;
  EXPECT_EQ(kernel_.Scan({slot, kHugeBytes}, kPageHuge, 0, 0, {&region, 1}, &walk_end), 0u);
}

// ---- threads, files, descriptors

TEST_F(Model, ThreadsFilesAndDescriptorsAreWhatTheTestSays) {
  kernel_.AddThread(10, 0x1000);
  kernel_.AddThread(11, 0);
  int32_t ids[1];
  EXPECT_EQ(kernel_.ListThreads(ids), 2u);
  EXPECT_EQ(ids[0], 10);
  EXPECT_EQ(kernel_.RobustListOf(10), 0x1000u);
  kernel_.EndThread(10);
  EXPECT_EQ(kernel_.RobustListOf(10).error(), Errno::kNoProcess);
  kernel_.SetFile("/proc/self/cgroup", "0::/\n");
  char text[3];
  EXPECT_EQ(kernel_.ReadFile("/proc/self/cgroup", text), 3u);
  EXPECT_EQ(std::string_view(text, 3), "0::");
  kernel_.AddDescriptor("/dev/fuse");
  std::string seen;
  const auto visit = [](void* context, int, std::string_view target) {
    *static_cast<std::string*>(context) += target;
  };
  EXPECT_EQ(kernel_.VisitDescriptors(visit, &seen), Errno::kOk);
  EXPECT_EQ(seen, "/dev/fuse");
}

// ---- the kernel that fails

TEST_F(Model, TheNthCallFails) {
  FailingKernel failing(kernel_);
  failing.FailCall(2, Errno::kNoMemory);
  EXPECT_EQ(failing.Wake({live_, kPageBytes}), Errno::kOk);
  EXPECT_FALSE(failing.failed());
  const MoveAnswer answer = failing.Move(area_, live_, kBytes);
  EXPECT_EQ(answer.error, Errno::kNoMemory);
  EXPECT_EQ(answer.bytes, 0u);
  EXPECT_TRUE(Present(live_));
  EXPECT_EQ(failing.Move(area_, live_, kBytes).error, Errno::kOk);
  EXPECT_EQ(failing.calls(), 3u);
  EXPECT_TRUE(failing.failed());
}

TEST_F(Model, TheNthMoveIsDoneAndDenied) {
  FailingKernel failing(kernel_);
  failing.FailCall(1, Errno::kExists, FailingKernel::Manner::kDoneAndDenied);
  EXPECT_EQ(failing.Move(area_, live_, kBytes).error, Errno::kExists);
  EXPECT_FALSE(Present(live_));
  EXPECT_TRUE(Present(area_));
}

TEST_F(Model, WhatCannotFailIsNotCounted) {
  FailingKernel failing(kernel_);
  failing.FailCall(1, Errno::kNoMemory);
  (void)failing.NowNs();
  failing.PinThread();
  failing.UnpinThread();
  failing.InterruptWait();
  failing.CloseChild(5, {});
  failing.Unmap({area_, kBytes});
  EXPECT_EQ(failing.calls(), 0u);
  EXPECT_EQ(failing.Map(kPageBytes).error(), Errno::kNoMemory);
}

// One mover, several threads of the application: every touch ends, and nothing is lost.
TEST_F(Model, MovesUnderTouchesLoseNothing) {
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> wrong = 0, rounds = 0;
  std::vector<std::thread> touchers;
  for (int t = 0; t < 2; ++t)
    touchers.emplace_back([&] {
      while (!stop.load()) {
        wrong += application_.CountWrong({live_, kBytes}, kSeed);
        ++rounds;
      }
    });
  for (int i = 0; i < 200 || rounds.load() < 20; ++i) {
    while (kernel_.ReadMessage().has_value()) {
    }
    EXPECT_EQ(kernel_.Move(area_, live_, kBytes).error, Errno::kOk);
    EXPECT_EQ(kernel_.Move(live_, area_, kBytes).error, Errno::kOk);
  }
  stop.store(true);
  for (std::thread& toucher : touchers) toucher.join();
  EXPECT_EQ(wrong.load(), 0u);
}

}  // namespace
}  // namespace drover::kernel
