// Copying ahead of the window: the program goes on meanwhile, and in the window the isolated
// original is compared with the copy, and only what differs is copied again. To compare takes half
// as long as to copy, because both sides are in the CPU's caches by then.
//
// The comparison stands behind the move-out, so it sees every write there has been, also a device's
// through an earlier pin; nothing rests on what the reading ahead has seen.
//
// Mover thread. Freestanding.
#pragma once

#include <cstdint>
#include <span>

#include "flow/limits.h"
#include "migrators/copy_function.h"
#include "migrators/migrator.h"

namespace drover::flow {

// How fast the program writes where pages are copied ahead: of so many, so many changed until they
// were looked at again.
class WriteRate {
 public:
  void Note(uint64_t changed, uint64_t pages) {
    if (pages == 0) return;
    const uint64_t now = changed * 1024 / pages;
    of_1024_ = now > of_1024_ ? now : of_1024_ - (of_1024_ - now) / 4;
  }
  // Another look before the window makes it shorter.
  bool is_high() const { return of_1024_ > kPrecopyChangedMost; }
  static bool IsHigh(uint64_t changed, uint64_t pages) {
    return changed * 1024 > pages * kPrecopyChangedMost;
  }

 private:
  uint64_t of_1024_ = 0;
};

// Copies those pages of the folios that differ from their originals, marks all as copied, and
// returns how many pages it copied.
uint64_t CopyChanged(std::span<migrators::Folio> folios, migrators::CopyFunction copy);

}  // namespace drover::flow
