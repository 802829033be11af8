// The stall budget of a job: batches are as large as windows may be, given what those before them
// took. Batches of small pages, of huge pages, and calls of the kernel path each have their pace.
//
// A window cannot be cut short, so its length is foretold. A window that the mover lost its CPU in
// says nothing of the next one, and teaches nothing.
//
// Mover thread. Freestanding.
#pragma once

#include <cstdint>

#include "flow/job.h"

namespace drover::flow {

struct Engine;

// How many folios fit. Starts small, at most doubles each time, and steps back as soon as one has
// taken too long.
class Pace {
 public:
  static constexpr uint64_t kAimMost = 717;  // 0.7: the longest of a hundred are half as long again

  Pace() = default;
  // It is over when of those by themselves so many, and so many percent, took too long.
  struct Over {
    uint64_t count, percent;
  };
  Pace(uint64_t limit_ns, uint64_t first, uint64_t most, Over over)
      : limit_ns_(limit_ns), next_(first), most_(most), when_over_(over) {}

  uint64_t folios() const { return next_; }
  // Even one by itself takes too long.
  bool is_over() const { return over_; }
  // Something like a job of so many folios took so long.
  void Note(uint64_t folios, uint64_t took_ns);
  // What one by itself takes at most, as far as is known; 0: not known.
  uint64_t single_ns() const { return single_ns_; }
  // What one takes by measure, before the first has been tried.
  void Foretell(uint64_t took_ns);
  // Jobs of so many folios are shorter than somewhat smaller ones, and fit, by measure: no smaller
  // ones are made, unless those of this size turn out to be too long.
  void UseStep(uint64_t folios);
  uint64_t step() const { return step_; }  // 0: there is none

 private:
  void NoteSingle(uint64_t took_ns);
  void KeepStep(uint64_t took_ns);

  uint64_t limit_ns_ = 0;
  uint64_t next_ = 1, most_ = 1;
  Over when_over_ = {};
  uint64_t slow_ns_ = 0;  // of one folio: close to the slowest of late
  // Of the limit that is aimed at, in 1/1024: less after each that took too long.
  uint64_t aim_ = kAimMost;
  uint64_t single_ns_ = 0, singles_ = 0, singles_over_ = 0;
  bool over_ = false;
  uint64_t step_ = 0, below_step_ = 0;  // and what is tried when it is given up
  uint64_t step_windows_ = 0, step_over_ = 0;
};

class Budget {
 public:
  void Begin(const Job& job);

  // What follows is about moves from one node to another, as the next batch; negative: unknown, or
  // there is only one.
  void UsePair(int16_t source, int16_t target);
  // Those that move most at a time, of the pairs that there have been.
  void UseWidest(bool huge);

  bool is_limited() const { return max_stall_ns_ > 0; }
  // How far a batch may reach that starts here.
  uint64_t EndOfSmall(uint64_t start) const;
  uint64_t HugeBytes() const { return pair().huge.folios() * kHugeBytes; }
  // No batch of these, however small, keeps the budget.
  bool IsOver(bool huge) const { return !forced_ && (huge ? pair().huge : pair().small).is_over(); }
  // Is a move_pages(2) call of so many pages long enough that `more` are for another one?
  bool IsFull(uint64_t pages, uint64_t more) const {
    return is_limited() && pages > 0 && pages + more > kernel_.folios();
  }

  // Are such pages copied ahead of their window?
  bool Precopies(bool huge) const {
    return huge ? pair().huge_ahead : precopy_ == Precopy::kAlways;
  }
  // And only so do they keep the budget.
  bool NeedsPrecopy(bool huge) const { return huge && pair().huge_needs_precopy && !forced_; }

  bool IsTooLong(uint64_t window_ns) const { return is_limited() && window_ns > max_stall_ns_; }
  // A window with so many folios has closed, from which the next ones may be foretold.
  void NoteWindow(bool huge, uint64_t folios, uint64_t window_ns);
  // What a window with one huge page takes by measure, if it is copied and if it was copied ahead.
  void ForetellHuge(uint64_t copy_ns, uint64_t compare_ns);
  void NoteKernelCall(uint64_t pages, uint64_t took_ns);
  // Once a job, before it opens a window: whether batches of small pages should have a step.
  void MeasureStep(Engine& engine);
  // Before the first huge page of a pair: how long its window would be, by copying one between
  // pages of the engine's own on these nodes; and if it was copied ahead. Without a budget:
  // nothing.
  void MeasureHuge(Engine& engine);

  // The smallest budget by which pages that were left for it would be moved; 0: none was left.
  uint64_t SmallestThatWouldDo() const;

 private:
  // What is known of moves between two nodes.
  struct Pair {
    int16_t source = -1, target = -1;
    Pace small, huge;
    bool huge_measured = false;
    bool huge_ahead = false;          // copied ahead
    bool huge_needs_precopy = false;  // and only so within the budget
    uint64_t huge_copy_ns = 0;        // of a window with one huge page that is not copied ahead
  };
  const Pair& pair() const { return pair_count_ == 0 ? fresh_ : pairs_[pair_]; }
  Pair& pair() {
    if (pair_count_ == 0) UsePair(-1, -1);
    return pairs_[pair_];
  }

  uint64_t max_stall_ns_ = 0;  // 0: none; then batches are as large as batch_bytes_
  uint64_t batch_bytes_ = kBatchBytesDefault;
  bool forced_ = false;  // what does not fit even by itself is moved all the same
  Precopy precopy_ = Precopy::kNever;
  Pair fresh_;  // of which nothing is known yet
  uint32_t pair_ = 0, pair_count_ = 0;
  Pair pairs_[kPacesMax];
  Pace kernel_;
};

}  // namespace drover::flow
