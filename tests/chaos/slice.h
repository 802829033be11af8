// Memory that one thread alone changes, and of which it knows what each page must read.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "chaos/random.h"

namespace drover::chaos {

inline constexpr uint64_t kPage = 4096;

inline constexpr uint64_t kSlicePages = 1024;
// Where the slice of a thread lies: far below where the kernel puts mappings by itself.
constexpr uint64_t SliceStart(uint64_t thread) {
  return (uint64_t{1} << 40) + (thread << 32);
}

constexpr bool SliceIsHuge(uint64_t thread) {
  return thread % 2 == 1;
}

class Slice {
 public:
  enum class State : uint8_t {
    kData,    // words that follow from the page's seed
    kZero,    // thrown away: zeros, present or not
    kEither,  // MADV_FREE: the data, or zeros
  };

  // At a fixed address, where nobody else maps anything; `huge`: advised to be of huge pages.
  Slice(uint64_t start, uint64_t pages, bool huge);
  ~Slice();
  Slice(const Slice&) = delete;
  Slice& operator=(const Slice&) = delete;

  uint64_t pages() const { return pages_; }
  bool huge() const { return huge_; }
  char* at(uint64_t page) const { return start_ + page * kPage; }
  // As many pages again, never mapped but in the middle of an operation.
  char* spare_at(uint64_t page) const { return start_ + 2 * pages_ * kPage + page * kPage; }

  void Write(uint64_t page, uint64_t seed);
  // The pages have this content by other means.
  void SetData(uint64_t page, uint64_t seed);
  void SetZero(uint64_t first, uint64_t count);
  void SetEither(uint64_t first, uint64_t count);
  // Maps it anew, empty.
  void MapAnew(uint64_t first, uint64_t count);
  State state(uint64_t page) const { return states_[page]; }

  bool IsRight(uint64_t page) const { return IsRightAt(page, at(page)); }
  // What stands there is what this page must read.
  bool IsRightAt(uint64_t page, const char* there) const;
  uint64_t CountWrong(uint64_t first, uint64_t count) const;

  // Does it begin with its last data, whatever it must read?
  bool IsOld(uint64_t page) const;

  // A page that has content and that the page table does not show: a window keeps it away now.
  std::optional<uint64_t> FindAway(Random& random) const;
  bool IsAnyAway(uint64_t first, uint64_t count) const;

  // The last operations on each page, for the report of a wrong one.
  void Note(uint64_t first, uint64_t count, uint8_t operation);
  const uint8_t* last(uint64_t page) const { return &last_[page * kLast]; }
  static constexpr uint64_t kLast = 6;

  // What page `page` of seed `seed` holds at word `i`.
  static uint64_t WordOf(uint64_t seed, uint64_t i) { return seed * 0x9e3779b97f4a7c15 + i + 1; }
  static void FillWith(char* page, uint64_t seed);

 private:
  char* start_;
  uint64_t pages_;
  bool huge_;
  int pagemap_;
  std::vector<State> states_;
  std::vector<uint64_t> seeds_;
  std::vector<uint8_t> last_;
};

}  // namespace drover::chaos
