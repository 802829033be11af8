// Pages that the application has thrown away (an event said so) while they were not isolated.
// Reading the event starts the discard, it does not end it; so such a page is not isolated, in this
// job or a later one, until it has been seen absent or a fault on it was filled.
//
// A hash table with open addressing in the engine's own memory. Guarded by the move lock.
#pragma once

#include "flow/limits.h"

namespace drover::flow {

class Marks {
 public:
  void Add(uint64_t page) {
    if (count_ == kMarksMax) {
      overflowed_ = true;
      return;
    }
    uint64_t& slot = slots_[SlotOf(page)];
    if (slot == 0) slot = page, ++count_;
  }

  bool Has(uint64_t page) const { return count_ > 0 && slots_[SlotOf(page)] == page; }

  void Remove(uint64_t page) {
    if (count_ == 0) return;
    uint32_t i = SlotOf(page);
    if (slots_[i] != page) return;
    slots_[i] = 0;
    --count_;
    // What stands behind in the same chain is put in anew, so that no chain is cut.
    for (i = (i + 1) % kMarkSlots; slots_[i] != 0; i = (i + 1) % kMarkSlots) {
      const uint64_t moved = slots_[i];
      slots_[i] = 0;
      slots_[SlotOf(moved)] = moved;
    }
  }

  uint32_t count() const { return count_; }
  // A mark was lost: the own path may not be taken any more in this process.
  bool overflowed() const { return overflowed_; }

 private:
  uint32_t SlotOf(uint64_t page) const {
    uint32_t i = static_cast<uint32_t>((page / kPageBytes) * 0x9E3779B97F4A7C15ull >> 48);
    static_assert(kMarkSlots == 1u << 16);
    while (slots_[i] != 0 && slots_[i] != page) i = (i + 1) % kMarkSlots;
    return i;
  }

  uint64_t slots_[kMarkSlots];
  uint32_t count_;
  bool overflowed_;
};

}  // namespace drover::flow
