#include "flow/gather.h"

#include "flow/kernel_crew.h"
#include "flow/text.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

WhySmall WhySmallOf(Errno error) {
  switch (error) {
    case Errno::kNoMemory:
    case Errno::kBusy:
      return WhySmall::kNoMemory;
    case Errno::kNoEntry:
      return WhySmall::kHoles;
    case Errno::kTimedOut:
      return WhySmall::kOverBudget;
    case Errno::kInvalid:
      return WhySmall::kSwitchedOff;
    case Errno::kAgain:
      return WhySmall::kInUse;
    default:
      return WhySmall::kRefused;
  }
}

// The word in brackets of a file such as "always [madvise] never".
std::string_view ChosenIn(kernel::Kernel& kernel, const char* path, std::span<char> buffer) {
  const auto got = kernel.ReadFile(path, buffer);
  if (!got.has_value()) return {};
  const std::string_view text(buffer.data(), *got);
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return {};
  return {text.data() + open + 1, close - open - 1};  // (substr could throw)
}

}  // namespace

bool Gatherer::Next() {
  const PhaseTimer timer(engine_, Phase::kGather);
  Range slots;
  if (!collector_.NextSlots(kGatherSlotsMax * kHugeBytes, &slots)) return false;
  Gather(slots);
  return true;
}

void Gatherer::Gather(Range slots) {
  count_.store(0);
  next_.store(0);
  all_found_.store(false);
  FindSmall(slots);
  all_found_.store(true);
  CollapseAll();
  engine_.kernel_crew->End();
  for (uint32_t i = 0; i < count_; ++i) Note(slots_[i]);
}

bool Gatherer::HasMade(uint64_t slot) const {
  for (uint32_t i = 0; i < count_; ++i)
    if (slots_[i].start == slot) return slots_[i].error == Errno::kOk;
  return false;
}

void Gatherer::Begin() {
  const PhaseTimer timer(engine_, Phase::kGather);
  if (engine_.job->page_size == PageSize::kAuto) LearnPolicy();
  if (engine_.budget.is_limited() && !engine_.job->over_budget) MeasureOne();
}

void Gatherer::LearnPolicy() {
  everywhere_ = false;
  if (engine_.huge_disabled) return;
  char buffer[128];
  // That of the size, where the kernel has one (Linux 6.8), goes before that of all sizes.
  std::string_view policy = ChosenIn(
      engine_.kernel, "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled", buffer);
  if (policy.empty() || policy == "inherit")
    policy = ChosenIn(engine_.kernel, "/sys/kernel/mm/transparent_hugepage/enabled", buffer);
  everywhere_ = policy == "always";
  if (policy != "madvise") return;
  const auto listed = engine_.kernel.ListMarked(kernel::Marked::kWantsHuge, wanted_);
  if (listed.has_value())
    wanted_count_ = *listed < kWantsHugeRangesMax ? *listed : kWantsHugeRangesMax;
}

bool Gatherer::IsWanted(Range slot) const {
  if (everywhere_) return true;
  for (uint64_t i = 0; i < wanted_count_; ++i)
    if (wanted_[i].Contains(slot)) return true;
  return false;
}

// How long the kernel takes for one, on pages of the engine's own; the better of a few.
void Gatherer::MeasureOne() {
  kernel::Kernel& kernel = engine_.kernel;
  const auto mapped = kernel.Map(2 * kHugeBytes);
  if (!mapped.has_value()) return;  // then the first one tells
  const Range slot{RoundUp(*mapped, kHugeBytes), kHugeBytes};
  (void)kernel.Advise({*mapped, 2 * kHugeBytes}, Advice::kDontFork);
  uint64_t least_ns = UINT64_MAX;
  for (uint32_t i = 0; i < kGatherOverMax; ++i) {
    (void)kernel.Advise(slot, Advice::kDontNeed);
    (void)kernel.Advise(slot, Advice::kNoHugePage);
    if (!engine_.headroom.Grants(kernel, {-1}, 2 * kHugeBytes) ||
        kernel.Advise(slot, Advice::kPopulateWrite) != Errno::kOk)
      break;
    (void)kernel.Advise(slot, Advice::kHugePage);
    const uint64_t begin_ns = kernel.NowNs();
    const Errno error = kernel.Advise(slot, Advice::kCollapse);
    const uint64_t took_ns = kernel.NowNs() - begin_ns;
    if (error == Errno::kOk && took_ns < least_ns) least_ns = took_ns;
  }
  if (least_ns != UINT64_MAX && engine_.budget.IsTooLong(least_ns)) GoOverBudget(least_ns);
  kernel.Unmap({*mapped, 2 * kHugeBytes});
}

void Gatherer::GoOverBudget(uint64_t took_ns) {
  over_budget_ = true;
  engine_.result->smallest_gather_budget_ns = took_ns * 5 / 4;
}

// Which of them are of small pages, and could be one of huge ones.
void Gatherer::FindSmall(Range slots) {
  uint64_t walk_end = 0;
  for (uint64_t at = slots.start; at < slots.end(); at += kHugeBytes) {
    const Range slot{at, kHugeBytes};
    const auto found = engine_.kernel.Scan(slot, kernel::kPagePresent, kernel::kPageZero,
                                           kernel::kPageHuge | kernel::kPageFile,
                                           {engine_.regions, kPagesPerHuge}, &walk_end);
    uint64_t pages = 0, huge = 0;
    for (uint64_t k = 0; found.has_value() && k < *found; ++k) {
      const auto& region = engine_.regions[k];
      const uint64_t count = (region.end - region.start) / kPageBytes;
      if ((region.categories & kernel::kPageFile) != 0) continue;
      ((region.categories & kernel::kPageHuge) != 0 ? huge : pages) += count;
    }
    if (pages == 0 || huge > 0) continue;
    if (const auto why = WhyNot(slot, pages); why.has_value())
      Stays(*why);
    else
      Publish(at);
  }
}

void Gatherer::Publish(uint64_t slot) {
  const uint32_t i = count_.load();
  slots_[i] = {.start = slot};
  count_.store(i + 1);
  if (i > 0) return;
  engine_.kernel_crew->Begin([](void* self) { static_cast<Gatherer*>(self)->Help(); }, this,
                             kGatherHelpersMax);
}

// Why a slot with so many small pages is not for the kernel.
std::optional<WhySmall> Gatherer::WhyNot(Range slot, uint64_t pages) {
  if (!IsWanted(slot)) return engine_.huge_disabled ? WhySmall::kSwitchedOff : WhySmall::kPolicy;
  if (pages < kPagesPerHuge) return WhySmall::kHoles;
  if (over_budget_) return WhySmall::kOverBudget;
  if (!engine_.job->unshare && IsShared(slot)) return WhySmall::kShared;
  if (engine_.job->placement.node_count > 1 && !IsOnOneNode(slot)) return WhySmall::kSeveralNodes;
  if (!engine_.headroom.Grants(engine_.kernel, {-1}, kHugeBytes)) return WhySmall::kNoMemory;
  return std::nullopt;
}

bool Gatherer::IsShared(Range slot) {
  if (engine_.kernel.ReadEntries(slot.start, {engine_.entries, kPagesPerHuge}) != Errno::kOk)
    return true;
  for (uint64_t i = 0; i < kPagesPerHuge; ++i)
    if (!engine_.entries[i].exclusive()) return true;
  return false;
}

bool Gatherer::IsOnOneNode(Range slot) {
  for (uint64_t i = 0; i < kPagesPerHuge; ++i) engine_.addresses[i] = slot.start + i * kPageBytes;
  const std::span<int32_t> nodes(engine_.nodes, kPagesPerHuge);
  if (engine_.kernel.QueryNodes({engine_.addresses, kPagesPerHuge}, nodes) != Errno::kOk)
    return false;
  for (const int32_t node : nodes)
    if (node < 0 || node != nodes[0]) return false;
  return true;
}

bool Gatherer::Claim(uint32_t* slot) {
  uint32_t next = next_.load();
  do {
    if (next >= count_.load()) return false;
  } while (!next_.compare_exchange_weak(next, next + 1));
  *slot = next;
  return true;
}

void Gatherer::CollapseAll() {
  for (uint32_t i; Claim(&i);) {
    Slot& slot = slots_[i];
    if (over_budget_)
      slot.error = Errno::kTimedOut;
    else
      CollapseOne(slot);
    NoteBudget(slot);
  }
}

void Gatherer::NoteBudget(const Slot& slot) {
  if (slot.error != Errno::kOk) return;  // (it may have looked for memory, under no lock)
  if (!engine_.budget.IsTooLong(slot.took_ns) || engine_.job->over_budget)
    over_in_a_row_ = 0;
  else if (++over_in_a_row_ >= kGatherOverMax)
    GoOverBudget(slot.took_ns);
}

// Any thread of the engine's.
void Gatherer::CollapseOne(Slot& slot) {
  slot.error = Errno::kNoMemory;
  if (no_memory_in_a_row_.load() >= kGatherNoMemoryMax) return;
  for (uint32_t tries = 0; tries < kGatherTriesMax; ++tries) {
    // The kernel would fill what the program has thrown away since it was looked at.
    slot.error = Errno::kNoEntry;
    if (!IsAll(engine_.kernel, {slot.start, kHugeBytes}, kernel::kPagePresent)) return;
    const uint64_t begin_ns = engine_.kernel.NowNs();
    slot.error = engine_.kernel.Collapse(slot.start);
    const uint64_t took_ns = engine_.kernel.NowNs() - begin_ns;
    if (took_ns > slot.took_ns) slot.took_ns = took_ns;
    if (slot.error != Errno::kAgain) break;
  }
  if (slot.error == Errno::kOk)
    no_memory_in_a_row_.store(0);
  else if (WhySmallOf(slot.error) == WhySmall::kNoMemory)
    no_memory_in_a_row_.fetch_add(1);
}

void Gatherer::Note(const Slot& slot) {
  if (slot.took_ns > 0) engine_.result->lock_holds.Add(slot.took_ns);
  if (slot.error == Errno::kOk)
    engine_.result->pages_gathered += kPagesPerHuge;
  else
    Stays(WhySmallOf(slot.error));
}

// On the helper, beside the mover.
void Gatherer::Help() {
  for (;;) {
    const bool all = all_found_.load();  // before the look for one
    const threads::Word nothing = 0;
    if (uint32_t i; Claim(&i))
      CollapseOne(slots_[i]);
    else if (all)
      return;
    else
      engine_.threads.Wait(nothing, 0, kErrandNapNs);
  }
}

}  // namespace drover::flow
