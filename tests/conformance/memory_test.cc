// Registration, the engine's own memory, nodes, threads and files.
#include <cerrno>

#include "conformance/suite.h"

namespace drover::conformance {
namespace {

class Memory : public Conformance {
 protected:
  int32_t NodeOf(uint64_t address) {
    int32_t node = 0;
    EXPECT_EQ(kernel_.QueryNodes({&address, 1}, {&node, 1}), Errno::kOk);
    return node;
  }
};

constexpr int32_t kUnwritten = -12345;

// ---- registration

TEST_P(Memory, RegisterRefusesBadRanges) {
  const uint64_t memory = world_->Map(2 * kPageBytes);
  EXPECT_EQ(kernel_.Register({memory + 1, kPageBytes}, RegisterMode::kMissing), Errno::kInvalid);
  EXPECT_EQ(kernel_.Register({memory, 100}, RegisterMode::kMissing), Errno::kInvalid);
  EXPECT_EQ(kernel_.Register({memory, 0}, RegisterMode::kMissing), Errno::kInvalid);
  EXPECT_EQ(kernel_.Unregister({memory, 0}), Errno::kInvalid);
  Keep(world_->StartUnmap({memory, kPageBytes})).Wait();
  EXPECT_EQ(kernel_.Register({memory, kPageBytes}, RegisterMode::kMissing), Errno::kInvalid);
  EXPECT_EQ(kernel_.Unregister({memory, kPageBytes}), Errno::kInvalid);
}

TEST_P(Memory, RegisterTakesFilesInMemoryOnly) {
  DROVER_NEEDS(Ability::kDiskFiles);
  const uint64_t on_disk = world_->Map(kPageBytes, {}, Backing::kDiskFile);
  EXPECT_EQ(kernel_.Register({on_disk, kPageBytes}, RegisterMode::kMissing), Errno::kInvalid);
  for (const Backing backing :
       {Backing::kPrivateFile, Backing::kSharedFile, Backing::kSharedAnonymous}) {
    const uint64_t memory = world_->Map(kPageBytes, {}, backing);
    EXPECT_EQ(kernel_.Register({memory, kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  }
}

TEST_P(Memory, RegisterRefusesWhatAnotherDescriptorHas) {
  const uint64_t taken = world_->Map(kPageBytes);
  world_->RegisterElsewhere({taken, kPageBytes});
  EXPECT_EQ(kernel_.Register({taken, kPageBytes}, RegisterMode::kMissing), Errno::kBusy);
}

TEST_P(Memory, RegisterTakesReadOnlyMappings) {
  const uint64_t memory = world_->Map(kPageBytes, {true, false, false});
  EXPECT_EQ(kernel_.Register({memory, kPageBytes}, RegisterMode::kMissing), Errno::kOk);
  EXPECT_EQ(kernel_.Register({memory, kPageBytes}, RegisterMode::kMissing), Errno::kOk);  // again
}

TEST_P(Memory, UnregisterTakesWhatIsNotRegistered) {
  const uint64_t memory = world_->Map(kPageBytes);
  EXPECT_EQ(kernel_.Unregister({memory, kPageBytes}), Errno::kOk);
}

// ---- the engine's own memory

TEST_P(Memory, MapGivesWritableEmptyMemory) {
  const auto memory = kernel_.Map(16 * kPageBytes);
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(*memory % kPageBytes, 0u);
  EXPECT_EQ(CountPresent(*memory, 16), 0u);
  const auto mapping = kernel_.NextMapping(*memory);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_TRUE(mapping->range.Contains(Range{*memory, 16 * kPageBytes}));
  EXPECT_TRUE(mapping->readable && mapping->writable);
  EXPECT_FALSE(mapping->executable || mapping->shared || mapping->file);
  kernel_.Unmap({*memory, 16 * kPageBytes});
}

TEST_P(Memory, AWishForAPlaceThatIsTakenIsNoOrder) {
  const auto first = kernel_.Map(4 * kPageBytes);
  ASSERT_TRUE(first.has_value());
  const auto second = kernel_.MapAt(*first, 4 * kPageBytes);
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(Range(*first, 4 * kPageBytes).Overlaps({*second, 4 * kPageBytes}));
  kernel_.Unmap({*second, 4 * kPageBytes});
  kernel_.Unmap({*first, 4 * kPageBytes});
}

TEST_P(Memory, PopulateWriteFills) {
  const uint64_t memory = world_->Map(4 * kPageBytes);
  ASSERT_EQ(kernel_.Advise({memory, 4 * kPageBytes}, Advice::kNoHugePage), Errno::kOk);
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, 2 * kPageBytes}, Advice::kPopulateWrite),
            Errno::kOk);
  EXPECT_EQ(CountPresent(memory, 4), 2u);
  EXPECT_FALSE(IsZero(memory + kPageBytes));
  EXPECT_EQ(world_->ReadWord(memory + kPageBytes), 0u);
}

TEST_P(Memory, PopulateWriteReplacesTheZeroPage) {
  const uint64_t memory = world_->Map(kPageBytes);
  (void)world_->ReadWord(memory);
  ASSERT_EQ(kernel_.Advise({memory, kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  EXPECT_FALSE(IsZero(memory));
  EXPECT_TRUE(Entry(memory).exclusive());
}

TEST_P(Memory, PopulateWriteKeepsContent) {
  const uint64_t memory = MapFilled(4);
  ASSERT_EQ(kernel_.Advise({memory, 4 * kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  ExpectFilled(memory, 4, memory);
}

TEST_P(Memory, PopulateWriteCopiesWhatAChildShares) {
  const uint64_t memory = MapFilled(2);
  const auto child = Fork();
  ASSERT_EQ(kernel_.Advise({memory, kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
  EXPECT_TRUE(Entry(memory).exclusive());
  EXPECT_FALSE(Entry(memory + kPageBytes).exclusive());
  world_->WriteWord(memory, 1);
  EXPECT_EQ(child->ReadWord(memory), First(memory));
}

TEST_P(Memory, LockedMappingsAreListed) {
  const uint64_t locked = MapFilled(2), plain = MapFilled(2);
  const auto lists = [&](kernel::Marked how, uint64_t address) {
    std::vector<Range> ranges(65536);
    const auto count = kernel_.ListMarked(how, ranges);
    EXPECT_TRUE(count.has_value());
    for (uint64_t i = 0; i < count.value_or(0); ++i)
      if (ranges[i].Contains(address)) return true;
    return false;
  };
  EXPECT_FALSE(lists(kernel::Marked::kLocked, locked));
  world_->Lock({locked, 2 * kPageBytes});
  EXPECT_TRUE(lists(kernel::Marked::kLocked, locked));
  EXPECT_FALSE(lists(kernel::Marked::kLocked, plain));
  EXPECT_FALSE(lists(kernel::Marked::kKeyed, locked));
}

TEST_P(Memory, PopulateWriteRefuses) {
  const uint64_t read_only = world_->Map(kPageBytes, {true, false, false});
  EXPECT_EQ(kernel_.Advise({read_only, kPageBytes}, Advice::kPopulateWrite), Errno::kInvalid);
  const uint64_t memory = world_->Map(2 * kPageBytes);
  Keep(world_->StartUnmap({memory + kPageBytes, kPageBytes})).Wait();
  EXPECT_EQ(kernel_.Advise({memory, 2 * kPageBytes}, Advice::kPopulateWrite), Errno::kNoMemory);
  EXPECT_TRUE(Present(memory));
}

TEST_P(Memory, PopulateWriteRefusesGuards) {
  DROVER_NEEDS(Ability::kGuards);
  const uint64_t memory = MapFilled(1);
  world_->Guard({memory, kPageBytes});
  EXPECT_EQ(kernel_.Advise({memory, kPageBytes}, Advice::kPopulateWrite), Errno::kFault);
}

TEST_P(Memory, DontNeedDiscards) {
  const uint64_t memory = MapFilled(4);
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, 2 * kPageBytes}, Advice::kDontNeed), Errno::kOk);
  EXPECT_EQ(CountPresent(memory, 4), 2u);
  EXPECT_EQ(world_->ReadWord(memory + kPageBytes), 0u);
  ExpectFilled(memory, 1, memory);
}

TEST_P(Memory, DontNeedRefusesLockedMemory) {
  const uint64_t memory = MapFilled(2);
  world_->Lock({memory, 2 * kPageBytes});
  EXPECT_EQ(kernel_.Advise({memory, 2 * kPageBytes}, Advice::kDontNeed), Errno::kInvalid);
  EXPECT_EQ(CountPresent(memory, 2), 2u);
  ASSERT_EQ(kernel_.Unlock({memory, 2 * kPageBytes}), Errno::kOk);
  EXPECT_EQ(kernel_.Advise({memory, 2 * kPageBytes}, Advice::kDontNeed), Errno::kOk);
  EXPECT_EQ(CountPresent(memory, 2), 0u);
}

TEST_P(Memory, AdviceOverAGapIsCarriedOutAndRefused) {
  const uint64_t memory = MapFilled(3);
  Keep(world_->StartUnmap({memory + kPageBytes, kPageBytes})).Wait();
  const Range range{memory, 3 * kPageBytes};
  EXPECT_EQ(kernel_.Advise(range, Advice::kDontNeed), Errno::kNoMemory);
  EXPECT_EQ(CountPresent(memory, 3), 0u);
  EXPECT_EQ(kernel_.Advise(range, Advice::kDontFork), Errno::kNoMemory);
  EXPECT_EQ(kernel_.Unlock(range), Errno::kNoMemory);
  EXPECT_EQ(kernel_.Protect(range, false), Errno::kNoMemory);
}

TEST_P(Memory, DontNeedKeepsAGuard) {
  DROVER_NEEDS(Ability::kGuards);
  const uint64_t memory = MapFilled(2);
  world_->Guard({memory, kPageBytes});
  ASSERT_EQ(kernel_.Advise({memory, 2 * kPageBytes}, Advice::kDontNeed), Errno::kOk);
  EXPECT_TRUE(Entry(memory).swapped());
  EXPECT_FALSE(Entry(memory + kPageBytes).holds_page());
}

TEST_P(Memory, ProtectChangesRights) {
  const uint64_t memory = MapFilled(2);
  ASSERT_EQ(kernel_.Protect({memory, kPageBytes}, false), Errno::kOk);
  EXPECT_EQ(kernel_.NextMapping(memory)->range, (Range{memory, kPageBytes}));
  EXPECT_FALSE(kernel_.NextMapping(memory)->writable);
  ASSERT_EQ(kernel_.Protect({memory, kPageBytes}, true), Errno::kOk);
  EXPECT_EQ(kernel_.NextMapping(memory)->range, (Range{memory, 2 * kPageBytes}));
  ExpectFilled(memory, 2, memory);
}

TEST_P(Memory, WipeOnForkNeedsPrivateAnonymousMemory) {
  const uint64_t memory = MapFilled(1);
  EXPECT_EQ(kernel_.Advise({memory, kPageBytes}, Advice::kWipeOnFork), Errno::kOk);
  const uint64_t file = world_->Map(kPageBytes, {}, Backing::kPrivateFile);
  EXPECT_EQ(kernel_.Advise({file, kPageBytes}, Advice::kWipeOnFork), Errno::kInvalid);
  const auto child = Fork();
  EXPECT_EQ(child->ReadWord(memory), 0u);
  EXPECT_TRUE(Entry(memory).exclusive());
}

// ---- nodes

TEST_P(Memory, NodesAreTold) {
  const uint64_t memory = MapFilled(3);
  EXPECT_GE(NodeOf(memory), 0);
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  EXPECT_EQ(NodeOf(memory + kPageBytes), -ENOENT);
  Keep(world_->StartUnmap({memory + 2 * kPageBytes, kPageBytes})).Wait();
  EXPECT_EQ(NodeOf(memory + 2 * kPageBytes), -EFAULT);
}

TEST_P(Memory, TheZeroPageHasNoNode) {
  DROVER_NEEDS(Ability::kZeroPages);
  const uint64_t memory = world_->Map(kPageBytes);
  (void)world_->ReadWord(memory);
  EXPECT_EQ(NodeOf(memory), -EFAULT);
}

TEST_P(Memory, MovePagesTellsEachPage) {
  DROVER_NEEDS(Ability::kZeroPages);
  const uint64_t memory = MapFilled(4);
  const int32_t node = NodeOf(memory);
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, 2 * kPageBytes}, Advice::kDontNeed), Errno::kOk);
  (void)world_->ReadWord(memory + 2 * kPageBytes);
  Keep(world_->StartUnmap({memory + 3 * kPageBytes, kPageBytes})).Wait();
  const uint64_t addresses[] = {memory, memory + kPageBytes, memory + 2 * kPageBytes,
                                memory + 3 * kPageBytes};
  const int32_t nodes[] = {node, node, node, node};
  int32_t status[] = {kUnwritten, kUnwritten, kUnwritten, kUnwritten};
  const auto left = kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn);
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(*left, 0);
  EXPECT_EQ(status[0], node);
  EXPECT_EQ(status[1], -ENOENT);
  EXPECT_EQ(status[2], -EFAULT);
  EXPECT_EQ(status[3], -EFAULT);
}

TEST_P(Memory, MovePagesRefusesANodeThatIsNotThere) {
  const uint64_t memory = MapFilled(2);
  const uint64_t addresses[] = {memory, memory + kPageBytes};
  const int32_t nodes[] = {NodeOf(memory), 900};
  int32_t status[] = {kUnwritten, kUnwritten};
  EXPECT_EQ(kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn).error(),
            Errno::kNoDevice);
  EXPECT_EQ(status[0], nodes[0]);
  EXPECT_EQ(status[1], kUnwritten);
}

TEST_P(Memory, PreferNodeTakesNodesThatAreThere) {
  const uint64_t memory = world_->Map(2 * kPageBytes);
  const Range range{memory, 2 * kPageBytes};
  EXPECT_EQ(kernel_.PreferNode(range, Node{0}), Errno::kOk);
  EXPECT_EQ(kernel_.PreferNode(range, Node{900}), Errno::kInvalid);
  EXPECT_EQ(kernel_.PreferNode(range, Node{}), Errno::kOk);
  Keep(world_->StartUnmap({memory + kPageBytes, kPageBytes})).Wait();
  EXPECT_EQ(kernel_.PreferNode(range, Node{0}), Errno::kFault);
}

TEST_P(Memory, PagesComeFromThePreferredNode) {
  DROVER_NEEDS(Ability::kTwoNodes);
  for (const int32_t node : {0, 1}) {
    const uint64_t memory = world_->Map(4 * kPageBytes);
    ASSERT_EQ(kernel_.PreferNode({memory, 4 * kPageBytes}, Node{node}), Errno::kOk);
    ASSERT_EQ(kernel_.Advise({memory, 4 * kPageBytes}, Advice::kPopulateWrite), Errno::kOk);
    EXPECT_EQ(NodeOf(memory), node);
    EXPECT_EQ(NodeOf(memory + 3 * kPageBytes), node);
  }
}

TEST_P(Memory, MovePagesMovesToTheOtherNode) {
  DROVER_NEEDS(Ability::kTwoNodes);
  const uint64_t memory = MapFilled(2);
  const int32_t other = 1 - NodeOf(memory);
  const uint64_t addresses[] = {memory, memory + kPageBytes};
  const int32_t nodes[] = {other, other};
  int32_t status[] = {kUnwritten, kUnwritten};
  EXPECT_EQ(kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn), 0);
  EXPECT_EQ(status[0], other);
  EXPECT_EQ(NodeOf(memory + kPageBytes), other);
  ExpectFilled(memory, 2, memory);
}

TEST_P(Memory, MovePagesLeavesPinnedPages) {
  DROVER_NEEDS(Ability::kTwoNodes);
  DROVER_NEEDS(Ability::kPins);
  const uint64_t memory = MapFilled(2);
  const int32_t node = NodeOf(memory), other = 1 - node;
  world_->Pin({memory, kPageBytes});
  const uint64_t addresses[] = {memory, memory + kPageBytes};
  const int32_t nodes[] = {other, other};
  int32_t status[] = {kUnwritten, kUnwritten};
  EXPECT_EQ(kernel_.MovePages(addresses, nodes, status, kernel::Whose::kOnlyOwn), 1);
  EXPECT_EQ(status[0], kUnwritten);  // nor is it written for those that did move
  EXPECT_EQ(status[1], kUnwritten);
  EXPECT_EQ(NodeOf(memory), node);
  EXPECT_EQ(NodeOf(memory + kPageBytes), other);
}

TEST_P(Memory, MovePagesLeavesSharedPages) {
  DROVER_NEEDS(Ability::kTwoNodes);
  const uint64_t memory = MapFilled(1);
  const int32_t other = 1 - NodeOf(memory);
  const auto child = Fork();
  int32_t status = kUnwritten;
  EXPECT_EQ(kernel_.MovePages({&memory, 1}, {&other, 1}, {&status, 1}, kernel::Whose::kOnlyOwn), 0);
  EXPECT_EQ(status, -EACCES);
}

TEST_P(Memory, MovePagesMovesSharedPagesForAllWhereThatIsAskedFor) {
  DROVER_NEEDS(Ability::kTwoNodes);
  const uint64_t memory = MapFilled(1);
  const int32_t other = 1 - NodeOf(memory);
  const auto child = Fork();
  int32_t status = kUnwritten;
  EXPECT_EQ(kernel_.MovePages({&memory, 1}, {&other, 1}, {&status, 1}, kernel::Whose::kAll), 0);
  EXPECT_EQ(status, other);
  EXPECT_EQ(NodeOf(memory), other);
  EXPECT_FALSE(Entry(memory).exclusive());  // shared as before
  EXPECT_EQ(child->ReadWord(memory), First(memory));
  ExpectFilled(memory, 1, memory);
}

TEST_P(Memory, MoveKeepsTheNode) {
  DROVER_NEEDS(Ability::kTwoNodes);
  const uint64_t source = world_->Map(kPageBytes), target = MapTarget(1);
  ASSERT_EQ(kernel_.PreferNode({source, kPageBytes}, Node{1}), Errno::kOk);
  ASSERT_EQ(kernel_.PreferNode({target, kPageBytes}, Node{0}), Errno::kOk);
  Fill(source, 1);
  ExpectMoves(target, source, 1);
  EXPECT_EQ(NodeOf(target), 1);
}

// ---- threads and files

TEST_P(Memory, ThreadsAreListed) {
  std::vector<int32_t> ids(4096);
  const auto count = kernel_.ListThreads(ids);
  ASSERT_TRUE(count.has_value());
  ASSERT_GE(*count, 1u);
  EXPECT_TRUE(kernel_.RobustListOf(ids[0]).has_value());
  EXPECT_EQ(kernel_.ListThreads({}), *count);
}

TEST_P(Memory, AThreadThatHasEndedIsToldSo) {
  EXPECT_EQ(kernel_.RobustListOf(1 << 29).error(), Errno::kNoProcess);
}

TEST_P(Memory, AFileThatIsNotThereIsToldSo) {
  char buffer[16];
  EXPECT_EQ(kernel_.ReadFile("/there/is/no/such/file", buffer).error(), Errno::kNoEntry);
}

DROVER_IN_BOTH_WORLDS(Memory);

}  // namespace
}  // namespace drover::conformance
