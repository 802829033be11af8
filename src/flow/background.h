// The pipeline: while the mover is at one batch, a helper of the copy engine's gets the targets of
// the next ones ready, and frees the originals of those before, whenever it has nothing to copy.
// For that a job has several places in which batches have their originals and their targets, in
// turn (berths), and each has an errand outstanding from the end of one batch in it to the
// beginning of the next.
//
// That helper has the policy that the mover has, and not SCHED_IDLE: it works in the kernel, under
// locks that a fork, say, of the program waits for, and must not be kept from going on for long
// (threads.h). What it has not come to the mover does.
//
// Mover thread, but for DoOne. Freestanding.
#pragma once

#include <atomic>

#include "flow/engine.h"
#include "migrators/errands.h"

namespace drover::flow {

class Background final : public migrators::Errands {
 public:
  // Where the job has a helper for it, and engines that hold no addresses when their threads have
  // ended. Otherwise, or without memory: the engine does without.
  static void Make(Engine& engine, const Job& job);
  static void Unmake(Engine& engine);

  // Before the helper starts; and before it ends, and the fault thread, for which it may have to
  // wait (events.h), or where there is no helper. Only in between there are places.
  void Begin();
  void Stop();
  Found DoOne() override;  // of what is outstanding

  // The place for the next batch, which is the batch's until GiveBack; nullptr: none is free.
  const Areas* Take(bool huge, Node target);
  // Are these targets, in the place that was taken last, all there?
  bool IsFilled(Range targets, bool huge) const;
  // Behind the batch in the place that was taken last: what is left of its originals is freed, and
  // targets that are gone are made up for. `held`: a copy engine may still touch all that.
  void GiveBack(Range area, Range pool, bool held);
  // What was filled ahead is for nobody now.
  void Empty();
  // No copy engine touches any more what it had.
  void TakeBack();
  // No work while a window is open that must be short: the CPU is for the copy engines then.
  void HoldBack(bool hold);

 private:
  static constexpr uint32_t kBerths = 3;
  static constexpr uint32_t kQueueLength = 4;  // more than there are berths
  // Of small pages, at a time: for so long others may wait for a lock.
  static constexpr uint64_t kFillBytes = 64 << 10;
  // To free costs less, and each call interrupts the other CPUs of the process.
  static constexpr uint64_t kFreeBytes = kHugeBytes;

  static constexpr uint64_t FillBytes(bool huge) { return huge ? kHugeBytes : kFillBytes; }

  struct Errand {
    Range free, fill;
    bool huge = false;
    uint32_t free_chunks = 0, chunks = 0;
    std::atomic<uint32_t> unclaimed = 0, done = 0;
    std::atomic<bool> failed = false;
  };
  struct Berth {
    Areas areas;
    Errand errand;
    // Of the small and of the huge pool.
    bool full[2] = {};
    Node node[2] = {{-1}, {-1}};
    bool held = false;
  };

  Background(Engine& engine, uint64_t small, uint64_t huge, uint64_t area_bytes);
  void Nap();
  void Post(Berth& berth, Range free, Range fill, bool huge);
  enum class Unbegun : uint8_t { kDo, kFreeOnly };
  bool Finish(Errand& errand, Unbegun unbegun = Unbegun::kDo);
  void UseNode(Berth& berth, bool huge, Node target);
  static bool Claim(Errand& errand, uint32_t* chunk);
  void Do(Errand& errand, uint32_t chunk);

  Engine& engine_;
  uint64_t area_bytes_;
  Berth berths_[kBerths];
  uint32_t taken_ = 0;
  // Errands in the order in which they were posted, by berth; how many there have been, and how
  // many of these the helper has found begun to the end.
  std::atomic<uint32_t> queue_[kQueueLength] = {};
  std::atomic<uint32_t> posted_ = 0;
  uint32_t seen_ = 0;
  std::atomic<bool> stop_ = true, at_work_ = false, held_back_ = false;
};

}  // namespace drover::flow
