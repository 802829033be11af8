// Job::page_size: the small pages of a 2 MiB slot become one huge page, by the kernel
// (MADV_COLLAPSE), when each of them is where the job wants it: the kernel takes the node where
// most of them are.
//
// Where pages stay on their node (Placement::same) that comes first: what has become huge is on
// fresh pages by that, and so has moved. Else it comes behind the move.
//
// Not by the own path: where small pages have moved out an empty page table stays, and splits the
// huge page that moves in. Only a discard of the whole slot, or a mremap, takes that table away,
// and both act on whatever is mapped there at that moment: what the program has put there since
// (mremap over it, by an inline system call) would be lost, or read as zeros for a moment. The
// kernel's own way has no such gap.
//
// Mover thread, but for Help. Freestanding.
#pragma once

#include <atomic>
#include <optional>

#include "flow/collect.h"

namespace drover::flow {

// Large, so it stands in the engine's memory, not on a stack.
class Gatherer {
 public:
  explicit Gatherer(Engine& engine) : engine_(engine), collector_(engine) {}

  // Before the first Next: what the system's policy is, and what a slot costs.
  void Begin();
  // The next few slots; false: no more.
  [[nodiscard]] bool Next();
  // Instead of Next: of these slots (at most kGatherSlotsMax).
  void Gather(Range slots);
  // Has this one of the slots become huge?
  bool HasMade(uint64_t slot) const;
  kernel::Errno error() const { return collector_.error(); }

 private:
  struct Slot {
    uint64_t start = 0;
    uint64_t took_ns = 0;  // of the longest call
    kernel::Errno error = kernel::Errno::kOk;
  };

  void LearnPolicy();
  bool IsWanted(Range slot) const;
  void MeasureOne();
  void GoOverBudget(uint64_t took_ns);
  void FindSmall(Range slots);
  // For whoever claims it; behind the first one the helper begins.
  void Publish(uint64_t slot);
  bool Claim(uint32_t* slot);
  std::optional<WhySmall> WhyNot(Range slot, uint64_t pages);
  bool IsShared(Range slot);
  bool IsOnOneNode(Range slot);
  void CollapseAll();
  void CollapseOne(Slot& slot);
  void NoteBudget(const Slot& slot);
  void Note(const Slot& slot);
  void Help();
  void Stays(WhySmall why) { ++engine_.result->slots_small[static_cast<uint32_t>(why)]; }

  Engine& engine_;
  Collector collector_;
  bool everywhere_ = true;  // the policy wants huge pages in every mapping, or nobody asks
  uint64_t wanted_count_ = 0;
  bool over_budget_ = false;
  uint32_t over_in_a_row_ = 0;
  std::atomic<uint32_t> no_memory_in_a_row_ = 0;
  // Found so far, whether there will be more, and the first that nobody has begun: the helper does
  // not wait until the mover has looked at all.
  std::atomic<uint32_t> count_ = 0;
  std::atomic<bool> all_found_ = true;
  std::atomic<uint32_t> next_ = 0;
  Slot slots_[kGatherSlotsMax];
  Range wanted_[kWantsHugeRangesMax];
};

}  // namespace drover::flow
