// Originals that are kept for a while after their batch: a ring of address space in which batches
// isolate one behind the other, and the table of what each page must still read.
//
// Mover thread only. Large, so it stands in the engine's memory.
#pragma once

#include "flow/limits.h"

namespace drover::flow {

struct KeptPage {
  uint64_t live = 0;      // where the page belonged when its batch ended; 0: judged
  uint64_t original = 0;  // where its original is
  uint64_t checksum = 0;  // of what was copied
};

struct KeptBatch {
  Range area;
  uint64_t since_ns = 0;
  bool huge = false;
  Node target;
  uint32_t first_page = 0, page_count = 0;  // in the ring's table
};

class KeptRing {
 public:
  // Bytes of address space, not of memory; but they count below RLIMIT_AS and overcommit limits.
  static constexpr uint64_t kBytes = 128 * kHugeBytes;

  void Use(uint64_t start) { start_ = start; }

  // A place of `bytes`; 0: none is free.
  uint64_t PlaceFor(uint64_t bytes) const {
    if (count_ == kKeptBatchesMax) return 0;
    if (count_ == 0) return bytes <= kBytes ? start_ : 0;
    const uint64_t first = oldest().area.start, end = newest().area.end();
    const bool wrapped = newest().area.start < first;
    if (wrapped) return end + bytes < first ? end : 0;
    if (end + bytes <= start_ + kBytes) return end;
    return start_ + bytes < first ? start_ : 0;
  }

  // The batch that was isolated in its `area`; its pages follow by AddPage.
  void Begin(const KeptBatch& batch) {
    KeptBatch& added = batches_[(first_ + count_++) % kKeptBatchesMax];
    added = batch;
    added.first_page = next_page_;
    added.page_count = 0;
  }
  void AddPage(const KeptPage& page) {
    pages_[next_page_] = page;
    next_page_ = (next_page_ + 1) % kKeptPagesMax;
    ++batches_[(first_ + count_ - 1) % kKeptBatchesMax].page_count;
    ++page_count_;
  }
  void DropOldest() {
    page_count_ -= oldest().page_count;
    first_ = (first_ + 1) % kKeptBatchesMax;
    --count_;
  }

  bool empty() const { return count_ == 0; }
  uint64_t page_count() const { return page_count_; }
  const KeptBatch& oldest() const { return batches_[first_]; }
  KeptPage& PageOf(const KeptBatch& batch, uint32_t i) {
    return pages_[(batch.first_page + i) % kKeptPagesMax];
  }

 private:
  const KeptBatch& newest() const { return batches_[(first_ + count_ - 1) % kKeptBatchesMax]; }

  uint64_t start_ = 0;
  uint32_t first_ = 0, count_ = 0;
  uint32_t next_page_ = 0;
  uint64_t page_count_ = 0;
  KeptBatch batches_[kKeptBatchesMax];
  KeptPage pages_[kKeptPagesMax];
};

}  // namespace drover::flow
