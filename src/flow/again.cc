#include "flow/again.h"

#include "flow/kernel_path.h"
#include "flow/unlike.h"

namespace drover::flow {
namespace {

using kernel::Errno;

uint32_t RoundsOf(Mode mode) {
  switch (mode) {
    case Mode::kAsync:
      break;
    case Mode::kSyncLight:
      return kRoundsSyncLight;
    case Mode::kSync:
      return kRoundsSync;
  }
  return 0;
}

// A run that goes on where the last one ends, so that pages of one fate stay together.
bool Extends(const AgainRun& last, uint64_t address, int32_t target, bool huge, Why why) {
  return last.address + last.pages * kPageBytes == address && last.target == target &&
         last.huge == huge && last.why == why;
}

}  // namespace

bool Passes(Why why) {
  return why == Why::kBusy || why == Why::kNotTried || why == Why::kUnstable ||
         why == Why::kMappingChanged || why == Why::kDiscarding;
}

void SettleNotMoved(Engine& engine, uint64_t address, uint64_t pages, int32_t target, bool huge,
                    Why why) {
  AgainList& list = engine.again;
  const bool another = !engine.job->plan_only && engine.result->rounds < RoundsOf(engine.job->mode);
  if (another && Passes(why)) {
    AgainRun* last = list.count > 0 ? &list.runs[list.count - 1] : nullptr;
    const bool extends = last != nullptr && Extends(*last, address, target, huge, why);
    if (extends) last->pages += pages;
    if (!extends && list.count < kAgainRunsMax)
      list.runs[list.count++] = {address, pages, static_cast<int16_t>(target), huge, why};
    else if (!extends)
      Book(engine, address, pages, target, Outcome::kNotMoved, why);
    return;
  }
  Book(engine, address, pages, target, Outcome::kNotMoved, why);
}

bool PutAside::BeginRound() {
  AgainList& list = engine_.again;
  round_ = static_cast<uint32_t>(engine_.result->rounds) + 1;
  if (list.count == 0) return false;
  for (uint32_t i = 0; i < list.count; ++i) runs_[i] = list.runs[i];
  count_ = list.count;
  at_ = list.count = 0;
  ++engine_.result->rounds;
  return true;
}

// Each pause is twice the one before it, and in mode sync they add up to the time that was given.
uint64_t PutAside::PauseNs() const {
  if (engine_.job->mode != Mode::kSync) return kPauseSyncLightNs << (round_ - 1);
  return engine_.job->retry_for_ns / ((uint64_t{1} << kRoundsSync) - 1) << (round_ - 1);
}

// Cuts off what is no longer mapped. False: nothing is left of the run.
bool PutAside::FindMapping(AgainRun& run) {
  const auto found = engine_.kernel.NextMapping(run.address);
  uint64_t gone = run.pages;
  if (found.has_value() && found->range.start < run.address + run.pages * kPageBytes)
    gone = found->range.start > run.address ? (found->range.start - run.address) / kPageBytes : 0;
  if (gone > 0) {
    // Unless the process cannot be looked at: then nobody knows.
    if (found.has_value() || found.error() == Errno::kNoEntry)
      Book(engine_, run.address, gone, run.target, Outcome::kGone, Why::kNone);
    else
      Book(engine_, run.address, gone, run.target, Outcome::kNotMoved, run.why);
    run.address += gone * kPageBytes;
    run.pages -= gone;
  }
  if (run.pages == 0) return false;
  mapping_ = *found;
  return true;
}

bool PutAside::AllHuge(Range range) {
  if (range.start % kHugeBytes != 0 || range.length % kHugeBytes != 0) return false;
  uint64_t huge_bytes = 0, walk_end = 0;
  const auto found = engine_.kernel.Scan(range, kernel::kPageHuge, kernel::kPageZero, 0,
                                         engine_.regions, &walk_end);
  for (uint64_t k = 0; found.has_value() && k < *found; ++k)
    huge_bytes += engine_.regions[k].end - engine_.regions[k].start;
  return huge_bytes == range.length;
}

// Takes runs into the piece as far as `end`; what reaches beyond stays for the next one.
void PutAside::Fill(Piece* piece, uint64_t end) {
  for (; at_ < count_; ++at_) {
    AgainRun& run = runs_[at_];
    const uint64_t run_end = run.address + run.pages * kPageBytes;
    if (run.address < piece->range.end() || run.address >= end) return;
    const uint64_t first = (run.address - piece->range.start) / kPageBytes;
    const uint64_t last = ((run_end < end ? run_end : end) - piece->range.start) / kPageBytes;
    for (uint64_t i = piece->range.length / kPageBytes; i < first; ++i)
      piece->target[i] = Piece::kAbsent;
    for (uint64_t i = first; i < last; ++i) piece->target[i] = run.target;
    piece->range.length = last * kPageBytes;
    if (run_end > end) {
      run.pages -= (end - run.address) / kPageBytes;
      run.address = end;
      return;
    }
    if (piece->huge) {  // its neighbours may not be
      ++at_;
      return;
    }
  }
}

bool PutAside::Next(Piece* piece) {
  while (at_ < count_ && !FindMapping(runs_[at_])) ++at_;
  if (at_ == count_) return false;
  const AgainRun& run = runs_[at_];
  const uint64_t batch_bytes = engine_.job->batch_bytes;
  const uint64_t huge_room =
      batch_bytes > kHugeBytes ? RoundDown(batch_bytes, kHugeBytes) : kHugeBytes;
  Range room{run.address, run.pages * kPageBytes < huge_room ? run.pages * kPageBytes : huge_room};
  if (room.end() > mapping_.range.end()) room.length = mapping_.range.end() - room.start;
  piece->huge = run.huge && AllHuge(room);
  uint64_t end = room.end();
  if (!piece->huge) {
    end = RoundDown(run.address, batch_bytes) + batch_bytes;
    if (end > mapping_.range.end()) end = mapping_.range.end();
  }
  piece->range = {run.address, 0};
  piece->not_own = WhyNotOwn(mapping_);
  if (piece->not_own == Why::kNone) piece->not_own = WhyUnlike(engine_, run.address);
  Fill(piece, end);
  return true;
}

void PutAside::GiveUp() {
  AgainList& list = engine_.again;
  for (; at_ < count_; ++at_) {
    const AgainRun& run = runs_[at_];
    Book(engine_, run.address, run.pages, run.target, Outcome::kNotMoved, run.why);
  }
  for (uint32_t i = 0; i < list.count; ++i) {
    const AgainRun& run = list.runs[i];
    Book(engine_, run.address, run.pages, run.target, Outcome::kNotMoved, run.why);
  }
  list.count = 0;
}

}  // namespace drover::flow
