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

bool GetsAnotherTry(const Engine& engine, Why why) {
  const Job& job = *engine.job;
  if (job.plan_only || !Passes(why)) return false;
  if (engine.result->rounds < RoundsOf(job.mode)) return true;
  // What no window has come to, or was a huge page until it was unshared, has had no try yet.
  return engine.result->rounds == 0 &&
         (why == Why::kNotTried || (job.unshare && why == Why::kUnstable));
}

void SettleNotMoved(Engine& engine, uint64_t address, uint64_t pages, int32_t target, bool huge,
                    Why why) {
  AgainList& list = engine.again;
  if (GetsAnotherTry(engine, why)) {
    AgainRun* last = list.count > 0 ? &list.runs[list.count - 1] : nullptr;
    if (last != nullptr && Extends(*last, address, target, huge, why)) {
      last->pages += pages;
      return;
    }
    if (list.count < kAgainRunsMax) {
      list.runs[list.count++] = {address, pages, static_cast<int16_t>(target), huge, why};
      return;
    }
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

// Cuts off what is no longer mapped, or not of a kind that was asked for. False: nothing is left of
// the run, or the process cannot be looked at.
bool PutAside::FindMapping(AgainRun& run) {
  while (run.pages > 0) {
    const uint64_t end = run.address + run.pages * kPageBytes;
    const auto found = engine_.kernel.NextMapping(run.address);
    if (!found.has_value() && found.error() != Errno::kNoEntry) {
      error_ = found.error();
      return false;
    }
    Range part{end, 0};  // of the run that is in the mapping
    if (found.has_value() && found->range.start < end) {
      part.start = found->range.start > run.address ? found->range.start : run.address;
      part.length = (found->range.end() < end ? found->range.end() : end) - part.start;
    }
    const bool asked = !part.empty() && !found->special && !engine_.IsOwn(part) &&
                       (!found->shared || engine_.job->AsksForFiles());
    const uint64_t gone = ((asked ? part.start : part.end()) - run.address) / kPageBytes;
    Book(engine_, run.address, gone, run.target, Outcome::kGone, Why::kNone);
    run.address += gone * kPageBytes;
    run.pages -= gone;
    if (!asked) continue;
    mapping_ = *found;
    return true;
  }
  return false;
}

// Takes runs into the piece as far as `end`; what reaches beyond stays for the next one.
void PutAside::Fill(Piece* piece, uint64_t end) {
  const bool huge_run = runs_[at_].huge;
  for (; at_ < count_ && runs_[at_].huge == huge_run; ++at_) {
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
  }
}

// Of the run at hand: how far a piece of whole huge pages reaches; its start: there is none.
uint64_t PutAside::HugeEnd(const AgainRun& run) {
  const uint64_t room = engine_.budget.HugeBytes();
  uint64_t limit = run.address + run.pages * kPageBytes, end = run.address;
  if (limit > run.address + room) limit = run.address + room;
  if (limit > mapping_.range.end()) limit = mapping_.range.end();
  while (run.huge && end + kHugeBytes <= limit && IsHuge(engine_, {end, kHugeBytes}))
    end += kHugeBytes;
  return end;
}

// Pages of files that are there now in place of the program's own, and holes, were not asked for.
void PutAside::LeaveOutOthers(Piece* piece) {
  const uint64_t pages = piece->range.length / kPageBytes;
  kernel::PageEntry* entries = engine_.entries;
  if (engine_.kernel.ReadEntries(piece->range.start, {entries, pages}) != Errno::kOk) return;
  for (uint64_t i = 0; i < pages; ++i) {
    if (piece->target[i] == Piece::kAbsent || entries[i].swapped()) continue;
    const bool file = entries[i].file_or_shared() && !engine_.job->AsksForFiles();
    if (entries[i].present() && !file) continue;
    Book(engine_, piece->range.start + i * kPageBytes, 1, piece->target[i], Outcome::kGone,
         Why::kNone);
    piece->target[i] = Piece::kAbsent;
  }
}

// Negative: there is only one, or it is not known.
int16_t PutAside::NodeOf(uint64_t page) const {
  int32_t node = -1;
  if (engine_.job->placement.node_count <= 1 ||
      engine_.kernel.QueryNodes({&page, 1}, {&node, 1}) != Errno::kOk || node < 0)
    return -1;
  return static_cast<int16_t>(node);
}

// (Runs that follow one another need not be on one node.)
void PutAside::FindSources(Piece* piece) {
  const uint64_t pages = piece->range.length / kPageBytes;
  for (uint64_t i = 0; i < pages; ++i) {
    piece->source[i] = -1;
    engine_.addresses[i] = piece->range.start + i * kPageBytes;
  }
  if (engine_.job->placement.node_count <= 1 ||
      engine_.kernel.QueryNodes({engine_.addresses, pages}, {engine_.nodes, pages}) != Errno::kOk)
    return;
  for (uint64_t i = 0; i < pages; ++i)
    if (engine_.nodes[i] >= 0) piece->source[i] = static_cast<int16_t>(engine_.nodes[i]);
}

bool PutAside::Next(Piece* piece) {
  while (at_ < count_ && !FindMapping(runs_[at_])) {
    if (error_ != Errno::kOk) return false;
    ++at_;
  }
  if (at_ == count_) return false;
  const AgainRun& run = runs_[at_];
  const int16_t source = NodeOf(run.address);
  engine_.budget.UsePair(source, run.target);
  uint64_t end = HugeEnd(run);
  piece->huge = end > run.address;
  if (!piece->huge) {
    end = engine_.budget.EndOfSmall(run.address);
    // Not into the next huge page, which may be whole.
    if (run.huge && end > run.address + kHugeBytes) end = run.address + kHugeBytes;
    if (end > mapping_.range.end()) end = mapping_.range.end();
  }
  piece->range = {run.address, 0};
  piece->not_own = WhyNotOwn(mapping_);
  if (piece->not_own == Why::kNone) piece->not_own = WhyUnlike(engine_, run.address);
  Fill(piece, end);
  FindSources(piece);
  LeaveOutOthers(piece);
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
