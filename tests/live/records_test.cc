// What an agent wrote into the records is another process's word: it is believed within bounds.
#include "cli/records.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

namespace drover::cli {
namespace {

using control::PageRecord;

class RecordsOf : public testing::Test {
 protected:
  RecordsOf() : file_(memfd_create("records", MFD_CLOEXEC)) {
    // So that this process can have had so many pages.
    room_ =
        mmap(nullptr, kRoomBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  ~RecordsOf() override {
    munmap(room_, kRoomBytes);
    close(file_);
  }
  void Write(const std::vector<PageRecord>& records) {
    const size_t bytes = records.size() * sizeof records[0];
    ASSERT_EQ(write(file_, records.data(), bytes), static_cast<ssize_t>(bytes));
  }
  std::vector<PageRecord> Read(uint64_t pages_requested) const {
    std::vector<PageRecord> read;
    Records(file_, getpid(), pages_requested).ForEach([&](const PageRecord& record) {
      read.push_back(record);
    });
    return read;
  }

  static constexpr size_t kRoomBytes = size_t{1} << 32;
  int file_;
  void* room_;
};

TEST_F(RecordsOf, AreReadInPieces) {
  Write({{.address = 0x10000, .pages = 10'000, .outcome = 3, .why = 7, .target = 1},
         {.address = 0x90000000, .pages = 1}});
  const auto read = Read(10'001);
  ASSERT_EQ(read.size(), 4u);
  uint64_t pages = 0;
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LE(read[i].pages, Records::kPiecePages);
    EXPECT_EQ(read[i].address, 0x10000 + pages * 4096);
    EXPECT_EQ(read[i].why, 7);
    EXPECT_EQ(read[i].target, 1);
    pages += read[i].pages;
  }
  EXPECT_EQ(pages, 10'000u);
  EXPECT_EQ(read[3].address, 0x90000000u);
}

TEST_F(RecordsOf, AreReducedToWhatHasMovedBeforeASecondHalf) {
  constexpr uint8_t kMoved = 0, kThere = 1, kNotMoved = 3;
  std::vector<PageRecord> first;
  for (uint64_t i = 0; i < 3000; ++i)
    first.push_back({.address = 0x10000 + i * 4096,
                     .pages = 1,
                     .outcome = i % 3 == 0   ? kMoved
                                : i % 3 == 1 ? kThere
                                             : kNotMoved});
  Write(first);
  KeepMoved(file_, 3000);
  Write({{.address = 0x90000000, .pages = 1, .outcome = kNotMoved}});
  const auto read = Read(3000);
  ASSERT_EQ(read.size(), 1001u);
  for (uint64_t i = 0; i < 1000; ++i) EXPECT_EQ(read[i].address, 0x10000 + 3 * i * 4096);
  EXPECT_EQ(read[1000].address, 0x90000000u);
}

TEST_F(RecordsOf, EndWhereTheResultSaysSo) {
  Write(std::vector<PageRecord>(10'000, {.address = 0x1000, .pages = 1}));
  EXPECT_EQ(Read(100).size(), 100u);
  EXPECT_EQ(Read(0).size(), 0u);
}

TEST_F(RecordsOf, EndWhereTheProcessCannotHaveMorePages) {
  Write({{.address = 0x1000, .pages = ~0u}, {.address = 0x1000, .pages = 1}});
  EXPECT_EQ(Read(~uint64_t{0}).size(), 0u);
}

TEST_F(RecordsOf, OfNoPageAreCountedAllTheSame) {
  Write(std::vector<PageRecord>(10'000, {.address = 0x1000, .pages = 0}));
  Write({{.address = 0x1000, .pages = 1}});
  EXPECT_EQ(Read(100).size(), 0u);
}

TEST_F(RecordsOf, EndAtAnAddressThatIsNone) {
  Write({{.address = 0x1000, .pages = 1}, {.address = 0x1001, .pages = 1}});
  EXPECT_EQ(Read(100).size(), 1u);
}

}  // namespace
}  // namespace drover::cli
