// `--verify`: each copy is compared with its original before it is remapped, and originals are kept
// for a while afterwards. The kernel may still write to an original through a reference that nobody
// sees. Such a late write is found, named, and carried over to the live page where that still holds
// what was copied.
//
// Mover thread only.
#pragma once

#include "flow/headroom.h"
#include "flow/kept.h"

namespace drover::flow {

struct Engine;

class Verifier {
 public:
  // In a mapping of its own, until Unmake; engine.verifier is set. False: no memory for it.
  [[nodiscard]] static bool Make(Engine& engine);
  static void Unmake(Engine& engine);
  // At the end of the job: what is still kept.
  void JudgeAll();

  // Before a batch of `live`: the area for its originals. Waits until there is room, and
  // judges what has been kept longest; never called inside a window.
  uint64_t RoomFor(Range live, bool huge, Node target);
  // Inside the window, between copy and remap: what was not copied right is copied again.
  void Compare();
  // Behind the window: keeps the originals of the remapped pages; false: there are none.
  [[nodiscard]] bool Keep();

 private:
  explicit Verifier(Engine& engine) : engine_(engine) {}
  KeptRing& RingOf(bool huge) { return huge ? huge_ : small_; }
  uint64_t kept_pages() const { return small_.page_count() + huge_.page_count(); }
  bool HasRoom(Range live, bool huge, Node target);
  // The batch that has been kept longest is looked at, and freed.
  void JudgeOldest();
  // True: a late write was carried over, so there may be more.
  bool Judge(KeptRing& ring, const KeptBatch& batch);

  Engine& engine_;
  Headroom headroom_;
  KeptRing small_, huge_;
  uint32_t isolated_[kBatchPagesMax];
  uint64_t checksums_[kBatchPagesMax];  // of the batch in hand
};

}  // namespace drover::flow
