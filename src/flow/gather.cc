#include "flow/gather.h"

#include "flow/text.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

WhySmall WhySmallOf(Errno error) {
  switch (error) {
    case Errno::kNoMemory:
      return WhySmall::kNoMemory;
    case Errno::kInvalid:
      return WhySmall::kSwitchedOff;
    case Errno::kAgain:
    case Errno::kBusy:
      return WhySmall::kInUse;
    default:
      return WhySmall::kRefused;
  }
}

}  // namespace

bool Gatherer::Next() {
  const PhaseTimer timer(engine_, Phase::kGather);
  if (!begun_) Begin();
  Range slots;
  if (!collector_.NextSlots(kGatherSlotsMax * kHugeBytes, &slots)) return false;
  FindSmall(slots);
  CollapseAll();
  return true;
}

void Gatherer::Begin() {
  begun_ = true;
  if (engine_.job->page_size == PageSize::kAuto) LearnPolicy();
  if (engine_.budget.is_limited() && !engine_.job->over_budget) MeasureOne();
}

void Gatherer::LearnPolicy() {
  everywhere_ = false;
  if (engine_.huge_disabled) return;
  char buffer[128];
  const auto got = engine_.kernel.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled", buffer);
  if (!got.has_value()) return;
  const std::string_view policy(buffer, *got);
  everywhere_ = policy.find("[always]") != std::string_view::npos;
  if (policy.find("[madvise]") == std::string_view::npos) return;
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

// How long the kernel takes for one, on pages of the engine's own.
void Gatherer::MeasureOne() {
  kernel::Kernel& kernel = engine_.kernel;
  const auto mapped = kernel.Map(2 * kHugeBytes);
  if (!mapped.has_value()) return;  // then the first one tells
  const Range slot{RoundUp(*mapped, kHugeBytes), kHugeBytes};
  (void)kernel.Advise({*mapped, 2 * kHugeBytes}, Advice::kDontFork);
  (void)kernel.Advise(slot, Advice::kNoHugePage);
  if (engine_.headroom.Grants(kernel, {-1}, 2 * kHugeBytes) &&
      kernel.Advise(slot, Advice::kPopulateWrite) == Errno::kOk) {
    (void)kernel.Advise(slot, Advice::kHugePage);
    Slot one{.start = slot.start};
    CollapseOne(one);
    if (one.error == Errno::kOk && engine_.budget.IsTooLong(one.took_ns)) {
      over_budget_ = true;
      engine_.result->smallest_gather_budget_ns = one.took_ns;
    }
  }
  kernel.Unmap({*mapped, 2 * kHugeBytes});
}

// Which of them are of small pages, and could be one of huge ones.
void Gatherer::FindSmall(Range slots) {
  count_ = 0;
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
    if (!IsWanted(slot))
      Stays(1, WhySmall::kPolicy);
    else if (pages < kPagesPerHuge)
      Stays(1, WhySmall::kHoles);
    else if (over_budget_)
      Stays(1, WhySmall::kOverBudget);
    else
      slots_[count_++] = {.start = at};
  }
}

void Gatherer::CollapseAll() {
  next_.store(0);
  if (has_helper_ && count_ > 1) {
    round_.fetch_add(1);
    engine_.threads.WakeAll(round_);
  }
  for (uint32_t i; (i = next_.fetch_add(1)) < count_;) {
    Slot& slot = slots_[i];
    if (over_budget_)
      slot.error = Errno::kTimedOut;
    else
      CollapseOne(slot);
    NoteBudget(slot);
  }
  for (uint32_t helped; has_helper_ && (helped = helped_.load()) != round_.load();)
    engine_.threads.Wait(helped_, helped, kErrandNapNs);
  for (uint32_t i = 0; i < count_; ++i) Note(slots_[i]);
}

void Gatherer::NoteBudget(const Slot& slot) {
  if (!engine_.budget.IsTooLong(slot.took_ns) || engine_.job->over_budget) {
    over_in_a_row_ = 0;
  } else if (++over_in_a_row_ >= kGatherOverMax) {
    over_budget_ = true;
    engine_.result->smallest_gather_budget_ns = slot.took_ns;
  }
}

// Any thread of the engine's.
void Gatherer::CollapseOne(Slot& slot) {
  for (uint32_t tries = 0; tries < kGatherTriesMax; ++tries) {
    const uint64_t begin_ns = engine_.kernel.NowNs();
    slot.error = engine_.kernel.Collapse(slot.start);
    const uint64_t took_ns = engine_.kernel.NowNs() - begin_ns;
    if (took_ns > slot.took_ns) slot.took_ns = took_ns;
    if (slot.error != Errno::kAgain && slot.error != Errno::kBusy) return;
  }
}

void Gatherer::Note(const Slot& slot) {
  if (slot.took_ns > 0) engine_.result->lock_holds.Add(slot.took_ns);
  if (slot.error == Errno::kTimedOut)
    Stays(1, WhySmall::kOverBudget);
  else if (slot.error != Errno::kOk)
    Stays(1, WhySmallOf(slot.error));
  else
    engine_.result->pages_gathered += kPagesPerHuge;
}

// ---- a second thread

void Gatherer::StartHelper() {
  if (engine_.job->helper_count == 0 || engine_.foreign || engine_.budget.is_limited()) return;
  stop_.store(false);
  helped_.store(round_.load());
  has_helper_ = engine_.threads.Start(HelpBody, this) == Errno::kOk;
}

void Gatherer::StopHelper() {
  if (!has_helper_) return;
  has_helper_ = false;
  stop_.store(true);
  round_.fetch_add(1);
  engine_.threads.WakeAll(round_);
}

// (Not SCHED_IDLE: it holds locks that the program waits for.)
void Gatherer::Help() {
  engine_.threads.AllowIdentitySignal(true);
  engine_.kernel.RunOn(engine_.job->helper_cpus[0]);
  for (uint32_t seen = helped_.load(); !stop_.load();) {
    engine_.threads.Wait(round_, seen, 0);
    const uint32_t now = round_.load();
    if (now == seen || stop_.load()) continue;
    seen = now;
    for (uint32_t i; (i = next_.fetch_add(1)) < count_;) CollapseOne(slots_[i]);
    helped_.store(seen);
    engine_.threads.WakeAll(helped_);
  }
  engine_.result->gather_cpu_ns += engine_.kernel.ThreadCpuNs();
}

}  // namespace drover::flow
