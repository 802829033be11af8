// PAGEMAP_SCAN, pagemap and PROCMAP_QUERY (fs/proc/task_mmu.c).
#include <cstring>

#include "conformance/suite.h"

namespace drover::conformance {
namespace {

using kernel::kPageFile;
using kernel::kPageHuge;
using kernel::kPagePresent;
using kernel::kPageSwapped;
using kernel::kPageZero;

constexpr uint64_t kAll = kPageFile | kPagePresent | kPageSwapped | kPageZero | kPageHuge;

class PageTable : public Conformance {
 protected:
  std::vector<PageRegion> Scan(Range range, uint64_t required, uint64_t forbidden,
                               uint64_t report = kAll, uint64_t room = 64) {
    std::vector<PageRegion> regions(room);
    const auto found = kernel_.Scan(range, required, forbidden, report, regions, &walk_end_);
    EXPECT_TRUE(found.has_value());
    regions.resize(found.value_or(0));
    return regions;
  }
  static void ExpectRegion(const PageRegion& region, uint64_t start, uint64_t pages,
                           uint64_t categories) {
    EXPECT_EQ(region.start, start);
    EXPECT_EQ(region.end, start + pages * kPageBytes);
    EXPECT_EQ(region.categories, categories);
  }
  uint64_t walk_end_ = 0;
};

TEST_P(PageTable, ScanJoinsEqualPages) {
  const uint64_t memory = MapFilled(8);
  const Range range{memory, 8 * kPageBytes};
  ASSERT_EQ(kernel_.Advise({memory + 2 * kPageBytes, 3 * kPageBytes}, Advice::kDontNeed),
            Errno::kOk);
  const auto regions = Scan(range, kPagePresent, 0);
  ASSERT_EQ(regions.size(), 2u);
  ExpectRegion(regions[0], memory, 2, kPagePresent);
  ExpectRegion(regions[1], memory + 5 * kPageBytes, 3, kPagePresent);
  EXPECT_EQ(walk_end_, range.end());
}

TEST_P(PageTable, ScanOfNothingFindsNothing) {
  const uint64_t memory = world_->Map(4 * kPageBytes);
  EXPECT_TRUE(Scan({memory, 4 * kPageBytes}, kPagePresent, 0).empty());
  EXPECT_EQ(walk_end_, memory + 4 * kPageBytes);
}

TEST_P(PageTable, ScanOfAGapFindsNothing) {
  const uint64_t memory = world_->Map(kPageBytes);
  Keep(world_->StartUnmap({memory, kPageBytes})).Wait();
  EXPECT_TRUE(Scan({memory, kPageBytes}, kPagePresent, 0).empty());
  EXPECT_EQ(walk_end_, memory + kPageBytes);
}

TEST_P(PageTable, ScanStopsWhenThereIsNoRoom) {
  const uint64_t memory = MapFilled(7);
  const Range range{memory, 7 * kPageBytes};
  for (const uint64_t hole : {1, 3, 5})
    ASSERT_EQ(kernel_.Advise({memory + hole * kPageBytes, kPageBytes}, Advice::kDontNeed),
              Errno::kOk);
  auto regions = Scan(range, kPagePresent, 0, kAll, 2);
  ASSERT_EQ(regions.size(), 2u);
  ExpectRegion(regions[1], memory + 2 * kPageBytes, 1, kPagePresent);
  EXPECT_GE(walk_end_, regions[1].end);
  EXPECT_LE(walk_end_, memory + 4 * kPageBytes);
  regions = Scan({walk_end_, range.end() - walk_end_}, kPagePresent, 0, kAll, 2);
  ASSERT_EQ(regions.size(), 2u);
  ExpectRegion(regions[0], memory + 4 * kPageBytes, 1, kPagePresent);
  ExpectRegion(regions[1], memory + 6 * kPageBytes, 1, kPagePresent);
}

TEST_P(PageTable, ScanCutsARegionAtTheEndOfTheRange) {
  const uint64_t memory = MapFilled(8);
  const auto regions = Scan({memory + kPageBytes, 3 * kPageBytes}, kPagePresent, 0);
  ASSERT_EQ(regions.size(), 1u);
  ExpectRegion(regions[0], memory + kPageBytes, 3, kPagePresent);
}

TEST_P(PageTable, ScanTellsZeroPages) {
  DROVER_NEEDS(Ability::kZeroPages);
  const uint64_t memory = MapFilled(3);
  const Range range{memory, 3 * kPageBytes};
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  (void)world_->ReadWord(memory + kPageBytes);
  auto regions = Scan(range, kPagePresent, 0);
  ASSERT_EQ(regions.size(), 3u);
  ExpectRegion(regions[1], memory + kPageBytes, 1, kPagePresent | kPageZero);
  regions = Scan(range, kPagePresent, kPageZero);
  ASSERT_EQ(regions.size(), 2u);
  const PageEntry zero = Entry(memory + kPageBytes);
  EXPECT_TRUE(zero.present());
  EXPECT_FALSE(zero.exclusive());
  EXPECT_FALSE(zero.file_or_shared());
}

TEST_P(PageTable, ScanTellsHugePages) {
  DROVER_NEEDS(Ability::kHugePages);
  const uint64_t memory = MapHuge();
  auto regions = Scan({memory, kHugeBytes}, kPagePresent, 0);
  ASSERT_EQ(regions.size(), 1u);
  ExpectRegion(regions[0], memory, kPagesPerHuge, kPagePresent | kPageHuge);
  regions = Scan({memory + 3 * kPageBytes, kPageBytes}, kPagePresent, 0);
  ASSERT_EQ(regions.size(), 1u);
  ExpectRegion(regions[0], memory + 3 * kPageBytes, 1, kPagePresent | kPageHuge);
}

TEST_P(PageTable, ScanReportsOnlyWhatIsAskedFor) {
  const uint64_t memory = MapFilled(2);
  ASSERT_EQ(kernel_.Advise({memory, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  (void)world_->ReadWord(memory);
  const auto regions = Scan({memory, 2 * kPageBytes}, kPagePresent, 0, kPageHuge);
  ASSERT_EQ(regions.size(), 1u);
  ExpectRegion(regions[0], memory, 2, kPagePresent);
}

TEST_P(PageTable, FilesAndSharedMemoryAreTold) {
  for (const Backing backing :
       {Backing::kSharedAnonymous, Backing::kSharedFile, Backing::kPrivateFile}) {
    const uint64_t memory = world_->Map(kPageBytes, {}, backing);
    (void)world_->ReadWord(memory);
    EXPECT_TRUE(Entry(memory).file_or_shared());
    EXPECT_EQ(Scan({memory, kPageBytes}, kPagePresent, kPageFile).size(), 0u);
    EXPECT_EQ(Scan({memory, kPageBytes}, kPageFile, 0).size(), 1u);
  }
}

TEST_P(PageTable, AWrittenPageOfAPrivateFileIsAnonymous) {
  const uint64_t memory = world_->Map(kPageBytes, {}, Backing::kPrivateFile);
  world_->WriteWord(memory, 1);
  EXPECT_TRUE(Present(memory));
  EXPECT_FALSE(Entry(memory).file_or_shared());
}

TEST_P(PageTable, GuardsCountAsSwapped) {
  DROVER_NEEDS(Ability::kGuards);
  const uint64_t memory = MapFilled(3);
  world_->Guard({memory + kPageBytes, kPageBytes});
  EXPECT_TRUE(Entry(memory + kPageBytes).swapped());
  EXPECT_EQ(Scan({memory, 3 * kPageBytes}, kPagePresent, 0).size(), 2u);
  const auto regions = Scan({memory, 3 * kPageBytes}, kPageSwapped, 0);
  ASSERT_EQ(regions.size(), 1u);
  ExpectRegion(regions[0], memory + kPageBytes, 1, kPageSwapped);
}

TEST_P(PageTable, EntriesTellSharing) {
  const uint64_t memory = MapFilled(2);
  EXPECT_TRUE(Entry(memory).exclusive());
  auto child = Fork();
  EXPECT_FALSE(Entry(memory).exclusive());
  EXPECT_EQ(child->ReadWord(memory), First(memory));
  world_->WriteWord(memory, 7);
  EXPECT_EQ(child->ReadWord(memory), First(memory));
  EXPECT_TRUE(Entry(memory).exclusive());
  child.reset();
  EXPECT_TRUE(Entry(memory + kPageBytes).exclusive());
  EXPECT_EQ(world_->ReadWord(memory), 7u);
}

TEST_P(PageTable, EntriesOfAGapAreEmpty) {
  const uint64_t memory = MapFilled(3);
  Keep(world_->StartUnmap({memory + kPageBytes, kPageBytes})).Wait();
  std::vector<PageEntry> entries(3);
  ASSERT_EQ(kernel_.ReadEntries(memory, entries), Errno::kOk);
  EXPECT_TRUE(entries[0].present());
  EXPECT_FALSE(entries[1].holds_page());
  EXPECT_TRUE(entries[2].present());
}

// ---- mappings

TEST_P(PageTable, NextMappingTellsRangeAndRights) {
  const uint64_t memory = world_->Map(4 * kPageBytes, {true, false, true});
  const auto mapping = kernel_.NextMapping(memory + kPageBytes + 17);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->range, (Range{memory, 4 * kPageBytes}));
  EXPECT_TRUE(mapping->readable);
  EXPECT_FALSE(mapping->writable);
  EXPECT_TRUE(mapping->executable);
  EXPECT_FALSE(mapping->shared);
  EXPECT_FALSE(mapping->file);
  EXPECT_FALSE(mapping->stack);
  EXPECT_FALSE(mapping->special);
}

TEST_P(PageTable, NextMappingTellsKinds) {
  const struct {
    Backing backing;
    bool shared, file;
  } kinds[] = {{Backing::kSharedAnonymous, true, true},
               {Backing::kSharedFile, true, true},
               {Backing::kPrivateFile, false, true}};
  for (const auto& kind : kinds) {
    const auto mapping = kernel_.NextMapping(world_->Map(kPageBytes, {}, kind.backing));
    ASSERT_TRUE(mapping.has_value());
    EXPECT_EQ(mapping->shared, kind.shared);
    EXPECT_EQ(mapping->file, kind.file);
  }
}

TEST_P(PageTable, NextMappingLooksAbove) {
  const uint64_t memory = world_->Map(4 * kPageBytes);
  Keep(world_->StartUnmap({memory, 2 * kPageBytes})).Wait();
  const auto mapping = kernel_.NextMapping(memory);
  ASSERT_TRUE(mapping.has_value());
  EXPECT_EQ(mapping->range, (Range{memory + 2 * kPageBytes, 2 * kPageBytes}));
  EXPECT_EQ(kernel_.NextMapping(uint64_t{1} << 47).error(), Errno::kNoEntry);
}

TEST_P(PageTable, ARegistrationSplitsTheMappingWhileItLasts) {
  const uint64_t memory = MapFilled(8);
  const Range middle{memory + 2 * kPageBytes, 3 * kPageBytes};
  ASSERT_EQ(kernel_.Register(middle, RegisterMode::kMissing), Errno::kOk);
  EXPECT_EQ(kernel_.NextMapping(middle.start)->range, middle);
  EXPECT_EQ(kernel_.NextMapping(memory)->range, (Range{memory, 2 * kPageBytes}));
  ASSERT_EQ(kernel_.Unregister(middle), Errno::kOk);
  EXPECT_EQ(kernel_.NextMapping(middle.start)->range, (Range{memory, 8 * kPageBytes}));
}

TEST_P(PageTable, OutAndBackTheMappingMergesAgain) {
  const uint64_t memory = MapFilled(8), area = MapTarget(8);
  const Range middle{memory + 2 * kPageBytes, 3 * kPageBytes};
  ASSERT_EQ(kernel_.Register(middle, RegisterMode::kMissing), Errno::kOk);
  ExpectMoves(area, middle.start, 3);
  ExpectMoves(middle.start, area, 3);
  ASSERT_EQ(kernel_.Unregister(middle), Errno::kOk);
  EXPECT_EQ(kernel_.NextMapping(memory)->range, (Range{memory, 8 * kPageBytes}));
}

TEST_P(PageTable, MemoryIsReadAsByADebugger) {
  const uint64_t memory = MapFilled(4), copy = MapFilled(4);
  std::memset(reinterpret_cast<void*>(copy), 0, 4 * kPageBytes);
  ASSERT_EQ(kernel_.ReadMemory(memory, copy, 4 * kPageBytes), Errno::kOk);
  EXPECT_EQ(
      std::memcmp(reinterpret_cast<void*>(copy), reinterpret_cast<void*>(memory), 4 * kPageBytes),
      0);
  // What is absent reads as it would to the program.
  ASSERT_EQ(kernel_.Advise({memory + kPageBytes, kPageBytes}, Advice::kDontNeed), Errno::kOk);
  ASSERT_EQ(kernel_.ReadMemory(memory + kPageBytes, copy, kPageBytes), Errno::kOk);
  EXPECT_EQ(*reinterpret_cast<uint64_t*>(copy), 0u);
  Keep(world_->StartUnmap({memory + 2 * kPageBytes, kPageBytes})).Wait();
  EXPECT_NE(kernel_.ReadMemory(memory, copy, 4 * kPageBytes), Errno::kOk);
  EXPECT_NE(kernel_.ReadMemory(memory + 2 * kPageBytes, copy, kPageBytes), Errno::kOk);
}

DROVER_IN_BOTH_WORLDS(PageTable);

}  // namespace
}  // namespace drover::conformance
