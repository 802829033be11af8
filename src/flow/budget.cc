#include "flow/budget.h"

#include "flow/engine.h"
#include "flow/flow.h"
#include "flow/precopy.h"
#include "flow/table.h"

namespace drover::flow {
namespace {

constexpr uint64_t kFirstSmall = 8, kFirstKernel = 8;  // pages
// The aim: a quarter of it goes with each window that took too long, and comes back within a few
// hundred that did not. So one in some hundreds is over at most.
constexpr uint64_t kAimLeast = 128, kAimRecovers = 1;
// A small page does not fit where most do not: what is slow about one is chance, or the first
// window of a job. Of huge pages a hundredth may be over, and each is a window by itself.
constexpr Pace::Over kSmallIsOver{64, 75}, kHugeIsOver{2, 1};
// What the barrier and the lists add to a window with one huge page, and what it differs from one
// time to the next.
constexpr uint64_t kHugeMarginPercent = 20;
constexpr int kHugeCopies = 3;
constexpr uint64_t kLineBytes = 64;

uint64_t Least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

// So that the copy reads from memory, as of a page that nobody has used lately.
void PushOutOfCaches(Range range) {
#if defined(__x86_64__)
  for (uint64_t at = range.start; at < range.end(); at += kLineBytes)
    asm volatile("clflush (%0)" : : "r"(at) : "memory");
#else
  (void)range;
#endif
}

// The longest of a few times, with the margin. The first one may have met anything.
template <class Before, class Timed>
uint64_t LongestOf(kernel::Kernel& kernel, const Before& before, const Timed& timed) {
  uint64_t slowest_ns = 0;
  for (int i = 0; i < kHugeCopies; ++i) {
    before();
    const uint64_t begin_ns = kernel.NowNs();
    timed();
    const uint64_t took_ns = kernel.NowNs() - begin_ns;
    if (i > 0 && took_ns > slowest_ns) slowest_ns = took_ns;
  }
  return slowest_ns * (100 + kHugeMarginPercent) / 100;
}

// Out and in again on memory of the engine's own, which has pages in `full` and nothing in `empty`,
// both registered.
bool MovesThereAndBack(kernel::Kernel& kernel, uint64_t full, uint64_t empty, uint64_t bytes) {
  return kernel.Move(empty, full, bytes).bytes == bytes &&
         kernel.Move(full, empty, bytes).bytes == bytes;
}

// Of a huge page; 0: it could not be done.
uint64_t MeasureMoves(Engine& engine, uint64_t full, uint64_t empty) {
  kernel::Kernel& kernel = engine.kernel;
  bool moves = true;
  const uint64_t took_ns = LongestOf(
      kernel, [] {},
      [&] {
        engine.lock.Lock();
        moves = moves && MovesThereAndBack(kernel, full, empty, kHugeBytes);
        engine.lock.Unlock();
      });
  return moves ? took_ns : 0;
}

// Of so many small pages the shortest of some times. UINT64_MAX: it could not be done.
uint64_t ShortestMoves(kernel::Kernel& kernel, uint64_t full, uint64_t empty, uint64_t bytes) {
  constexpr int kTimes = 5;
  uint64_t shortest_ns = UINT64_MAX;
  for (int i = 0; i < kTimes; ++i) {
    const uint64_t begin_ns = kernel.NowNs();
    if (!MovesThereAndBack(kernel, full, empty, bytes)) return UINT64_MAX;
    shortest_ns = Least(shortest_ns, kernel.NowNs() - begin_ns);
  }
  return shortest_ns;
}

}  // namespace

void Pace::UseStep(uint64_t folios) {
  if (folios > most_) return;
  step_ = folios;
  below_step_ = next_;
  next_ = folios;
}

// A twentieth and more of them too long: then smaller ones, after all.
void Pace::KeepStep(uint64_t took_ns) {
  ++step_windows_;
  if (took_ns > limit_ns_) ++step_over_;
  if (step_over_ >= 4 && step_over_ * 20 > step_windows_) {
    step_ = 0;
    next_ = below_step_;
    slow_ns_ = 0;
  } else if (next_ < step_) {
    next_ = step_;
  }
}

void Pace::Note(uint64_t folios, uint64_t took_ns) {
  // (What is below the step says nothing of those that are not.)
  if (folios == 0 || limit_ns_ == 0 || folios < step_) return;
  const uint64_t each_ns = took_ns / folios;
  if (each_ns > slow_ns_)
    slow_ns_ += (each_ns - slow_ns_ + 1) / (slow_ns_ == 0 ? 1 : 2);
  else
    slow_ns_ -= (slow_ns_ - each_ns) / 32;
  if (folios == 1) NoteSingle(took_ns);
  if (took_ns > limit_ns_) {
    aim_ = aim_ * 3 / 4 > kAimLeast ? aim_ * 3 / 4 : kAimLeast;
  } else if (aim_ < kAimMost) {
    aim_ += kAimRecovers;
  }
  uint64_t fit = slow_ns_ == 0 ? most_ : limit_ns_ * aim_ / 1024 / slow_ns_;
  // A window costs something by itself, so the few folios of a small one seem slow: one more is
  // tried as long as the last ones have fitted.
  if (fit <= folios && folios >= next_ && took_ns <= limit_ns_ * aim_ / 1024 &&
      took_ns + each_ns <= limit_ns_)
    fit = folios + 1;
  next_ = Least(Least(fit, 2 * next_), most_);
  if (next_ == 0) next_ = 1;
  if (step_ > 0) KeepStep(took_ns);
}

void Pace::NoteSingle(uint64_t took_ns) {
  ++singles_;
  if (took_ns > single_ns_) single_ns_ = took_ns;
  if (took_ns > limit_ns_) ++singles_over_;
  over_ = over_ || (singles_over_ >= when_over_.count &&
                    singles_over_ * 100 > singles_ * when_over_.percent);
}

void Pace::Foretell(uint64_t took_ns) {
  if (took_ns > single_ns_) single_ns_ = took_ns;
  over_ = took_ns > limit_ns_;
}

void Budget::Begin(const Job& job) {
  max_stall_ns_ = job.max_stall_ns;
  batch_bytes_ = job.batch_bytes;
  forced_ = job.over_budget;
  precopy_ = job.precopy;
  const uint64_t most = batch_bytes_ / kPageBytes;
  const uint64_t most_huge = batch_bytes_ > kHugeBytes ? batch_bytes_ / kHugeBytes : 1;
  // (A plan opens no window, and would never get on.)
  const bool adapts = is_limited() && !job.plan_only;
  fresh_ = Pair();
  fresh_.small = Pace(max_stall_ns_, adapts ? Least(kFirstSmall, most) : most, most, kSmallIsOver);
  fresh_.huge = Pace(max_stall_ns_, adapts ? 1 : most_huge, most_huge, kHugeIsOver);
  fresh_.huge_ahead = precopy_ == Precopy::kAlways;
  pair_ = pair_count_ = 0;
  kernel_ = Pace(max_stall_ns_, kFirstKernel, kKernelChunkPages, kSmallIsOver);
}

void Budget::UsePair(int16_t source, int16_t target) {
  if (source < 0) source = -1;
  if (target < 0) target = -1;
  for (pair_ = 0; pair_ < pair_count_; ++pair_)
    if (pairs_[pair_].source == source && pairs_[pair_].target == target) return;
  if (pair_count_ == kPacesMax) {
    pair_ = kPacesMax - 1;
    return;
  }
  ++pair_count_;
  pairs_[pair_] = fresh_;
  pairs_[pair_].source = source;
  pairs_[pair_].target = target;
}

void Budget::UseWidest(bool huge) {
  const auto folios = [huge](const Pair& each) { return (huge ? each.huge : each.small).folios(); };
  for (uint32_t i = 0; i < pair_count_; ++i)
    if (folios(pairs_[i]) > folios(pairs_[pair_])) pair_ = i;
}

uint64_t Budget::EndOfSmall(uint64_t start) const {
  if (!is_limited()) return RoundDown(start, batch_bytes_) + batch_bytes_;
  const uint64_t folios = pair().small.folios();
  const uint64_t end = start + folios * kPageBytes;
  // A batch in two page tables costs twice the moves.
  const uint64_t table_end = RoundDown(start, kHugeBytes) + kHugeBytes;
  if (folios >= kPagesPerHuge) return RoundDown(end, kHugeBytes);
  // Where the rest would be below the step: all of it at once, or two of a size.
  const uint64_t left = (table_end - start) / kPageBytes;
  if (left > folios && left - folios < pair().small.step())
    return left <= folios * 4 / 3 ? table_end : start + left / 2 * kPageBytes;
  return Least(end, table_end);
}

void Budget::NoteWindow(bool huge, uint64_t folios, uint64_t window_ns) {
  (huge ? pair().huge : pair().small).Note(folios, window_ns);
}

void Budget::NoteKernelCall(uint64_t pages, uint64_t took_ns) {
  kernel_.Note(pages, took_ns);
}

// Up to 33 pages x86 forgets one by one, more than those all at once
// (tlb_single_page_flush_ceiling): where a hypervisor keeps page tables of its own, a MOVE of 34
// takes a third of one of 33.
void Budget::MeasureStep(Engine& engine) {
  constexpr uint64_t kCeiling = 33, kBytes = (kCeiling + 1) * kPageBytes;
  if (!is_limited() || !engine.headroom.Grants(engine.kernel, Node{-1}, kBytes)) return;
  const auto mapped = MapOwn(engine.kernel, 3 * kHugeBytes);
  if (!mapped.has_value()) return;
  const uint64_t full = RoundUp(mapped->start, kHugeBytes), empty = full + kHugeBytes;
  const Range both{full, 2 * kHugeBytes};
  (void)engine.kernel.Advise(both, kernel::Advice::kNoHugePage);
  bool is_watched = false;
  if (engine.kernel.Advise({full, kBytes}, kernel::Advice::kPopulateWrite) == kernel::Errno::kOk)
    is_watched =
        engine.kernel.Register(both, kernel::RegisterMode::kWriteProtect) == kernel::Errno::kOk;
  if (is_watched) {
    const uint64_t few_ns = ShortestMoves(engine.kernel, full, empty, kCeiling * kPageBytes);
    const uint64_t more_ns = ShortestMoves(engine.kernel, full, empty, kBytes);
    if (more_ns < few_ns / 4 * 3 && more_ns <= max_stall_ns_ / 2)
      fresh_.small.UseStep(kCeiling + 1);
  }
  // (Better lost than waited for.)
  if (!is_watched || UnwatchOwn(engine, both)) engine.kernel.Unmap(*mapped);
}

void Budget::MeasureHuge(Engine& engine) {
  if (!is_limited() || pair().huge_measured) return;
  pair().huge_measured = true;
  constexpr uint64_t kRoomBytes = 4 * kHugeBytes;
  const auto mapped = engine.kernel.Map(kRoomBytes);
  if (!mapped.has_value()) return;  // then the first window tells
  const uint64_t source = RoundUp(*mapped, kHugeBytes), target = source + kHugeBytes;
  const Range both{source, 2 * kHugeBytes}, watched{target, 2 * kHugeBytes};
  bool is_watched = false;
  // (A child that is forked meanwhile would keep it for good.)
  (void)engine.kernel.Advise({*mapped, kRoomBytes}, kernel::Advice::kDontFork);
  (void)engine.kernel.Advise(both, kernel::Advice::kHugePage);
  const Node from{pair().source}, to{pair().target};
  if (from.id >= 0) (void)engine.kernel.PreferNode({source, kHugeBytes}, from);
  if (to.id >= 0) (void)engine.kernel.PreferNode({target, kHugeBytes}, to);
  if (engine.headroom.Grants(engine.kernel, to, both.length) &&
      engine.headroom.Grants(engine.kernel, from, both.length) &&
      engine.kernel.Advise(both, kernel::Advice::kPopulateWrite) == kernel::Errno::kOk) {
    const uint64_t copy_alone_ns =
        LongestOf(
            engine.kernel, [&] { PushOutOfCaches(both); },
            [&] { engine.copy.For(kHugeBytes)(target, source, kHugeBytes); }) /
        engine.result->copy_threads;
    // (So that mlockall, which touches what it finds, does not wait for anybody.)
    is_watched =
        engine.kernel.Register(watched, kernel::RegisterMode::kWriteProtect) == kernel::Errno::kOk;
    const uint64_t moves_ns = is_watched ? MeasureMoves(engine, target, both.end()) : 0;
    const uint64_t copy_ns = moves_ns + copy_alone_ns;
    uint64_t compare_ns = UINT64_MAX;  // nobody asks
    if (precopy_ == Precopy::kAlways || (precopy_ == Precopy::kAuto && IsTooLong(copy_ns))) {
      migrators::Folio folio{source, target, kHugeBytes, false};
      compare_ns =
          moves_ns + LongestOf(
                         engine.kernel,
                         [&] { (void)engine.kernel.ReadMemory(source, target, kHugeBytes); },
                         [&] { (void)CopyChanged({&folio, 1}, engine.copy.small); });
    }
    ForetellHuge(copy_ns, compare_ns);
  }
  // (Better lost than waited for.)
  if (!is_watched || UnwatchOwn(engine, watched)) engine.kernel.Unmap({*mapped, kRoomBytes});
}

void Budget::ForetellHuge(uint64_t copy_ns, uint64_t compare_ns) {
  Pair& now = pair();
  now.huge_copy_ns = copy_ns;
  const bool over = IsTooLong(copy_ns), shorter = compare_ns < copy_ns;
  const bool fits = compare_ns <= max_stall_ns_ || (forced_ && shorter);
  // (Several threads may copy faster than one compares.)
  now.huge_ahead = (precopy_ == Precopy::kAlways && (over ? shorter : fits)) ||
                   (precopy_ == Precopy::kAuto && over && shorter && fits);
  now.huge_needs_precopy = now.huge_ahead && over;
  const bool possible = precopy_ != Precopy::kNever && shorter && over;
  now.huge.Foretell(now.huge_ahead || possible ? compare_ns : copy_ns);
}

uint64_t Budget::SmallestThatWouldDo() const {
  uint64_t most = 0;
  for (const Pair& each : std::span(pairs_, pair_count_)) {
    for (const Pace* pace : {&each.small, &each.huge})
      if (pace->is_over() && pace->single_ns() > most) most = pace->single_ns();
    // Some were left because they change too fast to be copied ahead.
    if (each.huge_needs_precopy && each.huge_copy_ns > most) most = each.huge_copy_ns;
  }
  return most * 5 / 4;
}

}  // namespace drover::flow
