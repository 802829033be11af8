#include "chaos/slice.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace drover::chaos {
namespace {

constexpr uint64_t kWords = kPage / 8;

// Present or swapped out.
bool Holds(uint64_t entry) {
  return entry >> 62 != 0;
}

}  // namespace

Slice::Slice(uint64_t start, uint64_t pages, bool huge)
    : start_(reinterpret_cast<char*>(start)),
      pages_(pages),
      huge_(huge),
      pagemap_(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)),
      states_(pages),
      seeds_(pages),
      last_(pages * kLast) {
  MapAnew(0, pages);
}

Slice::~Slice() {
  munmap(start_, pages_ * kPage);
  close(pagemap_);
}

void Slice::MapAnew(uint64_t first, uint64_t count) {
  constexpr int kRights = PROT_READ | PROT_WRITE;
  constexpr int kHow = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  // At the memory limit the kernel has no room for a mapping: the old one stays until it has.
  while (mmap(at(first), count * kPage, kRights, kHow, -1, 0) == MAP_FAILED) usleep(1000);
  madvise(at(first), count * kPage, huge_ ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  SetZero(first, count);
}

void Slice::FillWith(char* page, uint64_t seed) {
  auto* words = reinterpret_cast<uint64_t*>(page);
  for (uint64_t i = 0; i < kWords; ++i) words[i] = WordOf(seed, i);
}

void Slice::Write(uint64_t page, uint64_t seed) {
  FillWith(at(page), seed);
  SetData(page, seed);
}

void Slice::SetData(uint64_t page, uint64_t seed) {
  states_[page] = State::kData;
  seeds_[page] = seed;
}

void Slice::SetZero(uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; ++i) states_[i] = State::kZero;
}

void Slice::SetEither(uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; ++i)
    if (states_[i] == State::kData) states_[i] = State::kEither;
}

bool Slice::IsRightAt(uint64_t page, const char* there) const {
  const auto* words = reinterpret_cast<const volatile uint64_t*>(there);
  bool data = states_[page] != State::kZero;  // so far
  for (uint64_t i = 0; i < kWords; ++i) {
    const uint64_t word = words[i];
    if (data && word == WordOf(seeds_[page], i)) continue;
    // What MADV_FREE was said of can be thrown away while it is looked at: zeros from here on.
    if (data && i > 0 && states_[page] == State::kData) return false;
    data = false;
    if (word != 0 || states_[page] == State::kData) return false;
  }
  return true;
}

uint64_t Slice::CountWrong(uint64_t first, uint64_t count) const {
  uint64_t wrong = 0;
  for (uint64_t i = first; i < first + count; ++i) wrong += IsRight(i) ? 0 : 1;
  return wrong;
}

bool Slice::IsOld(uint64_t page) const {
  return *reinterpret_cast<const volatile uint64_t*>(at(page)) == WordOf(seeds_[page], 0);
}

std::optional<uint64_t> Slice::FindAway(Random& random) const {
  constexpr uint64_t kLook = 512;
  uint64_t entries[kLook];
  const uint64_t begin = random.Below(pages_);
  for (uint64_t seen = 0; seen < pages_;) {
    const uint64_t first = (begin + seen) % pages_;
    const uint64_t count = std::min({kLook, pages_ - first, pages_ - seen});
    const auto place = static_cast<off_t>(reinterpret_cast<uint64_t>(at(first)) / kPage * 8);
    if (pread(pagemap_, entries, count * 8, place) != static_cast<ssize_t>(count * 8))
      return std::nullopt;
    for (uint64_t i = 0; i < count; ++i)
      if (states_[first + i] == State::kData && !Holds(entries[i])) return first + i;
    seen += count;
  }
  return std::nullopt;
}

bool Slice::IsAnyAway(uint64_t first, uint64_t count) const {
  uint64_t entries[64];
  count = std::min<uint64_t>(count, std::size(entries));
  const auto place = static_cast<off_t>(reinterpret_cast<uint64_t>(at(first)) / kPage * 8);
  if (pread(pagemap_, entries, count * 8, place) != static_cast<ssize_t>(count * 8)) return false;
  for (uint64_t i = 0; i < count; ++i)
    if (states_[first + i] == State::kData && !Holds(entries[i])) return true;
  return false;
}

void Slice::Note(uint64_t first, uint64_t count, uint8_t operation) {
  for (uint64_t i = first; i < first + count; ++i) {
    uint8_t* last = &last_[i * kLast];
    std::memmove(last + 1, last, kLast - 1);
    last[0] = operation;
  }
}

}  // namespace drover::chaos
