#include "flow/collect.h"

#include "flow/gather.h"
#include "flow/kernel_path.h"
#include "flow/unlike.h"

namespace drover::flow {
namespace {

using kernel::Errno;
using kernel::kPageFile;
using kernel::kPageHuge;
using kernel::kPagePresent;
using kernel::kPageZero;
using kernel::Mapping;

}  // namespace

Why WhyNotOwn(const Mapping& mapping) {
  if (!RuleHolds(Rule::kSortKinds)) return Why::kNone;
  if (mapping.kernels_own) return Why::kNotMovable;
  if (mapping.hugetlb) return Why::kHugetlb;
  if (mapping.file || mapping.shared) return Why::kFile;
  if (mapping.stack) return Why::kStack;
  if (!mapping.readable || !mapping.writable || mapping.executable) return Why::kRights;
  return Why::kNone;
}

bool IsAll(kernel::Kernel& kernel, Range range, uint64_t categories) {
  kernel::PageRegion region;
  uint64_t walk_end = 0;
  const auto found = kernel.Scan(range, categories, kPageZero, 0, {&region, 1}, &walk_end);
  return found.has_value() && *found == 1 && region.start == range.start &&
         region.end == range.end();
}

bool IsHuge(Engine& engine, Range range) {
  return range.start % kHugeBytes == 0 && range.length % kHugeBytes == 0 &&
         IsAll(engine.kernel, range, kPageHuge);
}

uint64_t Collector::forbidden() const {
  return engine_.job->AsksForFiles() ? kPageZero : kPageFile | kPageZero;
}

// (They are sorted and disjoint.)
uint32_t Collector::RangeBehind(uint64_t at) const {
  const Job& job = *engine_.job;
  uint32_t i = 0;
  const auto other = [&] { return side_ != Exchange::kBoth && job.exchange.side_of[i] != side_; };
  while (i < job.range_count && (job.ranges[i].end() <= at || other())) ++i;
  return i;
}

bool Collector::NextStretch() {
  for (;;) {
    const auto mapping = engine_.kernel.NextMapping(at_);
    if (!mapping.has_value()) {
      if (mapping.error() != Errno::kNoEntry) error_ = mapping.error();
      return false;
    }
    mapping_ = *mapping;
    Range part = mapping_.range;
    if (part.start < at_) part = {at_, part.end() - at_};
    const Job& job = *engine_.job;
    if (job.range_count > 0) {
      const uint32_t i = range_ = RangeBehind(at_);
      if (i == job.range_count) return false;
      const uint64_t start = part.start > job.ranges[i].start ? part.start : job.ranges[i].start;
      const uint64_t end = part.end() < job.ranges[i].end() ? part.end() : job.ranges[i].end();
      if (start >= end) {  // the mapping ends before the range begins, or the other way round
        at_ = mapping_.range.end() <= job.ranges[i].start ? mapping_.range.end()
                                                          : job.ranges[i].end();
        if (at_ < job.ranges[i].start) at_ = job.ranges[i].start;
        continue;
      }
      part = {start, end - start};
    }
    stretch_ = part;
    LeaveOutOwn();
    if (mapping_.special || (mapping_.shared && !job.AsksForFiles())) stretch_.length = 0;
    if (stretch_.empty()) {
      at_ = stretch_.start > at_ && stretch_.start < part.end() ? stretch_.start : part.end();
      continue;
    }
    at_ = stretch_.end();
    return true;
  }
}

// Cuts the stretch before memory that is not asked for, or moves its start behind it.
void Collector::LeaveOutOwn() {
  const Job& job = *engine_.job;
  const std::span<const Range> left_out(job.left_out, job.left_out_count);
  for (bool again = true; again;) {
    again = LeaveOut(left_out);
    if (RuleHolds(Rule::kExcludeOwn)) again = LeaveOut(engine_.OwnRanges()) || again;
  }
}

// True: the start has been moved, perhaps into another of the ranges.
bool Collector::LeaveOut(std::span<const Range> ranges) {
  bool moved = false;
  for (const Range& range : ranges) {
    if (!range.Overlaps(stretch_)) continue;
    if (range.start > stretch_.start) {
      stretch_.length = range.start - stretch_.start;
    } else {
      const uint64_t end = stretch_.end();
      stretch_.start = range.end() < end ? range.end() : end;
      stretch_.length = end - stretch_.start;
      moved = true;
    }
  }
  return moved;
}

bool Collector::Next(Piece* piece, uint64_t most) {
  if (!to_gather_.empty()) GatherNow();
  const PhaseTimer timer(engine_, Phase::kCollect);
  for (;;) {
    if (!stretch_.empty() && CutPiece(piece, most)) return true;
    if (error_ != Errno::kOk || !NextStretch()) return false;
  }
}

bool Collector::NextSlots(uint64_t most, Range* slots) {
  for (;;) {
    if (!stretch_.empty() && WhyNotOwn(mapping_) == Why::kNone) {
      if (const auto first = FindFirst(); first.has_value()) {
        const uint64_t slot = RoundDown(first->start, kHugeBytes);
        const uint64_t start = slot < stretch_.start ? slot + kHugeBytes : slot;
        uint64_t end = RoundDown(stretch_.end(), kHugeBytes);
        if (end > start && end - start > most) end = start + most;
        if (end > start) {
          stretch_ = {end, stretch_.end() - end};
          *slots = {start, end - start};
          return true;
        }
      }
    }
    if (error_ != Errno::kOk || !NextStretch()) return false;
  }
}

// The first run of present pages of the stretch, as far as a batch reaches. The near look comes
// first: a scan for one region walks that region to its end, however long it is.
std::optional<kernel::PageRegion> Collector::FindFirst() {
  const uint64_t reach =
      engine_.job->batch_bytes > kHugeBytes ? engine_.job->batch_bytes : kHugeBytes;
  const uint64_t near_end = RoundUp(stretch_.start + reach, kHugeBytes);
  const uint64_t ends[] = {near_end < stretch_.end() ? near_end : stretch_.end(), stretch_.end()};
  for (const uint64_t end : ends) {
    kernel::PageRegion first;
    uint64_t walk_end = 0;
    const auto found = engine_.kernel.Scan({stretch_.start, end - stretch_.start}, kPagePresent,
                                           forbidden(), kPageHuge, {&first, 1}, &walk_end);
    if (!found.has_value()) {  // a mapping that has gone is no error, only a range without pages
      error_ = found.error();
      return std::nullopt;
    }
    if (*found > 0) return first;
  }
  return std::nullopt;
}

bool Collector::IsToGather() const {
  return engine_.gatherer != nullptr && engine_.job->GathersFirst() &&
         WhyNotOwn(mapping_) == Why::kNone;
}

// (Of whole slots in the stretch only.)
bool Collector::PassGathered(const kernel::PageRegion& first) {
  const uint64_t slot = RoundDown(first.start, kHugeBytes);
  if (!IsToGather() || slot < stretch_.start || slot + kHugeBytes > stretch_.end()) return false;
  if (slot < gathered_to_ && engine_.gatherer->HasMade(slot)) {
    stretch_ = {slot + kHugeBytes, stretch_.end() - (slot + kHugeBytes)};
    return true;
  }
  if (slot >= gathered_to_ && !engine_.time_is_up) {
    const uint64_t end = RoundDown(stretch_.end(), kHugeBytes);
    const uint64_t most = slot + kGatherSlotsMax * kHugeBytes;
    gathered_to_ = end < most ? end : most;
    to_gather_ = {slot, gathered_to_ - slot};
  }
  return false;
}

// What becomes huge is on fresh pages by that, and has moved.
void Collector::GatherNow() {
  const PhaseTimer timer(engine_, Phase::kGather);
  engine_.gatherer->Gather(to_gather_);
  for (uint64_t slot = to_gather_.start; slot < to_gather_.end(); slot += kHugeBytes) {
    if (!engine_.gatherer->HasMade(slot)) continue;
    engine_.result->moved_kernel_path += kPagesPerHuge;
    Book(engine_, slot, kPagesPerHuge, Piece::kAnywhere, Outcome::kMoved, Why::kNone);
  }
  to_gather_ = {};
}

bool Collector::CutPiece(Piece* piece, uint64_t most) {
  auto found_first = FindFirst();
  while (found_first.has_value() && PassGathered(*found_first))
    found_first = stretch_.empty() ? std::nullopt : FindFirst();
  if (!found_first.has_value()) {
    stretch_.length = 0;
    return false;
  }
  piece->range = {};
  if (!to_gather_.empty()) return true;
  const kernel::PageRegion first = *found_first;
  const uint64_t end = stretch_.end();
  const bool huge = (first.categories & kPageHuge) != 0 && first.start % kHugeBytes == 0 &&
                    first.end - first.start >= kHugeBytes;
  uint64_t piece_end;
  engine_.budget.UseWidest(huge);  // which of them it is shows in its nodes
  if (huge) {
    uint64_t room = engine_.budget.HugeBytes();
    if (room > most) room = most < kHugeBytes ? kHugeBytes : RoundDown(most, kHugeBytes);
    const uint64_t whole_end = RoundDown(first.end, kHugeBytes);
    piece_end = whole_end - first.start < room ? whole_end : first.start + room;
  } else {
    piece_end = engine_.budget.EndOfSmall(first.start);
    if (piece_end > first.start + most) piece_end = first.start + most;
    // Not into slots that may become huge before.
    const uint64_t slot_end = RoundDown(first.start, kHugeBytes) + kHugeBytes;
    const uint64_t tried_to = gathered_to_ > slot_end ? gathered_to_ : slot_end;
    if (IsToGather() && piece_end > tried_to) piece_end = tried_to;
    // Another mapping layout of the batch's pages would not be congruent with the areas.
    if (piece_end > end) piece_end = end;
  }
  piece->range = {first.start, piece_end - first.start};
  piece->huge = huge;
  piece->not_own = WhyNotOwn(mapping_);
  if (piece->not_own == Why::kNone) piece->not_own = WhyUnlike(engine_, piece->range.start);
  uint64_t regions = 1;
  engine_.regions[0] = first;
  if (first.end < piece->range.end()) {  // (It reaches over all of a piece of huge pages.)
    uint64_t walk_end = 0;
    const auto found = engine_.kernel.Scan(piece->range, kPagePresent, forbidden(), kPageHuge,
                                           engine_.regions, &walk_end);
    if (!found.has_value()) {
      error_ = found.error();
      stretch_.length = 0;
      return false;
    }
    regions = *found;
  }
  if (!huge && regions > 0) {  // stop before the first whole huge page
    for (uint64_t k = 0; k < regions; ++k) {
      const auto& region = engine_.regions[k];
      const uint64_t slot = RoundUp(region.start, kHugeBytes);
      if ((region.categories & kPageHuge) == 0 || slot + kHugeBytes > end) continue;
      if (slot < piece->range.end()) piece->range.length = slot - piece->range.start;
      break;
    }
  }
  error_ = FindTargets(piece, regions);
  if (error_ != Errno::kOk) {
    stretch_.length = 0;
    return false;
  }
  stretch_ = {piece->range.end(), end - piece->range.end()};
  return true;
}

void Collector::CutToPace(Piece* piece) const {
  const uint64_t start = piece->range.start, pages = piece->range.length / kPageBytes;
  Budget& budget = engine_.budget;
  for (uint64_t i = 0, last = pages, end; i < pages; i = end) {
    end = RunEnd(piece->source, i, RunEnd(piece->target, i, pages, piece->target[i]),
                 piece->source[i]);
    if (piece->target[i] < 0 && piece->target[i] != Piece::kAnywhere) continue;
    const bool seen = last < pages && piece->source[i] == piece->source[last] &&
                      piece->target[i] == piece->target[last];
    last = i;
    if (seen) continue;
    budget.UsePair(piece->source[i], piece->target[i]);
    const uint64_t most = piece->huge ? start + budget.HugeBytes() : budget.EndOfSmall(start);
    if (most < piece->range.end()) piece->range.length = most - start;
  }
}

// Which one of the spread has got the least for its weight.
uint32_t Collector::NextOfSpread() const {
  const Placement& placement = engine_.job->placement;
  uint32_t best = 0;
  for (uint32_t i = 1; i < placement.spread_count; ++i)
    if (engine_.spread_given[i] * placement.spread_weight[best] <
        engine_.spread_given[best] * placement.spread_weight[i])
      best = i;
  return best;
}

int16_t Collector::TargetOf(int32_t node, int16_t of_spread) const {
  const Placement& placement = engine_.job->placement;
  if (node < 0 || node >= static_cast<int32_t>(kNodesMax)) return Piece::kAbsent;  // gone meanwhile
  if (placement.same) return static_cast<int16_t>(node);
  const int16_t target = engine_.job->TargetOf(range_, node);
  if (target == Placement::kNotAsked) return Piece::kAbsent;
  if (target >= 0) return target == node ? Piece::kThereAlready : target;
  for (uint32_t i = 0; i < placement.spread_count; ++i)
    if (placement.spread[i] == node) return Piece::kThereAlready;
  return of_spread;
}

kernel::Errno Collector::FindTargets(Piece* piece, uint64_t regions) {
  const uint64_t pages = piece->range.length / kPageBytes;
  const uint64_t step = piece->huge ? kPagesPerHuge : 1;
  SetRun(piece->target, 0, pages, Piece::kAbsent);
  SetRun(piece->source, 0, pages, int16_t{-1});
  uint64_t asked = 0;
  for (uint64_t k = 0; k < regions; ++k) {
    const auto& region = engine_.regions[k];
    if (region.start >= piece->range.end()) break;
    const bool cut = !piece->huge && (region.categories & kPageHuge) != 0;
    const uint64_t first = (region.start - piece->range.start) / kPageBytes;
    const uint64_t whole = (region.end - piece->range.start) / kPageBytes;
    const uint64_t end = whole < pages ? whole : pages;
    SetRun(piece->target, first, end, cut ? Piece::kCutHuge : Piece::kAnywhere);
    for (uint64_t i = RoundUp(first, step); !cut && i < end; i += step)
      engine_.addresses[asked++] = piece->range.start + i * kPageBytes;
  }
  const Placement& placement = engine_.job->placement;
  if (asked == 0 || (placement.same && placement.node_count <= 1)) {
    CutToPace(piece);
    return Errno::kOk;
  }
  const Errno error = engine_.kernel.QueryNodes({engine_.addresses, asked}, {engine_.nodes, asked});
  if (error != Errno::kOk) return error;
  const uint32_t next = NextOfSpread();  // a piece stays together
  const int16_t of_spread = placement.spread_count > 0 ? placement.spread[next] : Piece::kAbsent;
  for (uint64_t k = 0; k < asked; ++k) {
    const int16_t target = TargetOf(engine_.nodes[k], of_spread);
    const uint64_t i = (engine_.addresses[k] - piece->range.start) / kPageBytes;
    SetRun(piece->target, i, i + step, target);
    SetRun(piece->source, i, i + step,
           engine_.nodes[k] < 0 ? int16_t{-1} : static_cast<int16_t>(engine_.nodes[k]));
  }
  CutToPace(piece);
  for (uint64_t k = 0; k < asked; ++k)
    engine_.spread_given[next] += engine_.addresses[k] < piece->range.end() ? 1 : 0;
  return Errno::kOk;
}

uint64_t Collector::Estimate() {
  uint64_t pages = 0;
  while (NextStretch()) {
    uint64_t walk_end = 0;
    for (Range left = stretch_; !left.empty(); left = {walk_end, stretch_.end() - walk_end}) {
      const auto found =
          engine_.kernel.Scan(left, kPagePresent, forbidden(), 0, engine_.regions, &walk_end);
      if (!found.has_value() || walk_end <= left.start) break;
      for (uint64_t k = 0; k < *found; ++k)
        pages += (engine_.regions[k].end - engine_.regions[k].start) / kPageBytes;
    }
  }
  at_ = 0;
  stretch_ = {};
  return pages;
}

}  // namespace drover::flow
