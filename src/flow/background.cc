#include "flow/background.h"

#include <new>

#include "flow/flow.h"
#include "migrators/spin.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

constexpr uint64_t kBackgroundBytes = RoundUp(sizeof(Background), kHugeBytes);

// A batch may begin anywhere within a huge page's length.
uint64_t StrideOf(uint64_t area_bytes) {
  return area_bytes + kHugeBytes;
}

Range PoolOf(const Areas& areas, bool huge, uint64_t bytes) {
  return {huge ? areas.pool_huge : areas.pool_small, bytes};
}

}  // namespace

void Background::Make(Engine& engine, const Job& job) {
  engine.background = nullptr;
  // (The verifier keeps its originals in places of its own.)
  if (!job.own_path || job.plan_only || job.verify || job.reuse || job.helper_count == 0 ||
      !job.CopiesByThreadsAlone())  // (whose helpers have let go of everything when they end)
    return;
  const uint64_t area_bytes = RoundUp(job.batch_bytes, kHugeBytes);
  const uint64_t huge_bytes = kBerths * 2 * StrideOf(area_bytes) + kHugeBytes;
  const uint64_t small_bytes = kBerths * 2 * (StrideOf(area_bytes) + 2 * kHugeBytes);
  const auto mapped = MapOwn(engine.kernel, kBackgroundBytes + small_bytes + kHugeBytes);
  if (!mapped.has_value()) return;
  // (Beside the engine's, and no mapping of theirs.)
  const auto apart = MapOwn(engine.kernel, huge_bytes, engine.apart.end() + kHugeBytes);
  if (!apart.has_value()) {
    engine.kernel.Unmap(*mapped);
    return;
  }
  AddOwn(engine, *mapped);
  AddOwn(engine, *apart);
  const uint64_t start = RoundUp(mapped->start, kHugeBytes);
  (void)engine.kernel.Advise({start, kBackgroundBytes}, Advice::kNoHugePage);
  engine.background = new (reinterpret_cast<void*>(start))
      Background(engine, start + kBackgroundBytes, RoundUp(apart->start, kHugeBytes), area_bytes);
  engine.background_room = *mapped;
  engine.background_apart = *apart;
}

void Background::Unmake(Engine& engine) {
  if (engine.background == nullptr) return;
  engine.background = nullptr;
  for (const Range room : {engine.background_apart, engine.background_room}) {
    RemoveOwn(engine, room);
    engine.kernel.Unmap(room);
  }
}

// No area is one mapping with a pool to the kernel: what is registered, and so changed, must not be
// what the helper fills. Small ones have a gap without advice between them. Their pools begin in
// the middle of a page table's range, so that mover and helper, who come from both ends of a batch,
// make their targets in two tables: each table has one lock.
Background::Background(Engine& engine, uint64_t small, uint64_t huge, uint64_t area_bytes)
    : engine_(engine), area_bytes_(area_bytes) {
  const uint64_t stride = StrideOf(area_bytes);
  for (Berth& berth : berths_) {
    Areas& areas = berth.areas;
    for (uint64_t* area : {&areas.area_small, &areas.pool_small}) {
      *area = small;
      (void)engine.kernel.Advise({small, stride + kHugeBytes}, Advice::kNoHugePage);
      small += stride + 2 * kHugeBytes;
    }
    areas.pool_small += kHugeBytes / 2;
    areas.area_huge = huge;
    areas.pool_huge = huge + stride;
    (void)engine.kernel.Advise({areas.pool_huge, stride}, Advice::kHugePage);
    huge += 2 * stride;
  }
}

void Background::Begin() {
  seen_ = posted_.load(std::memory_order_relaxed) - kBerths;  // (what was left when it ended)
  stop_.store(false);
}

void Background::Nap() {
  const threads::Word nothing = 0;
  engine_.threads.Wait(nothing, 0, kErrandNapNs);
}

void Background::Stop() {
  stop_.store(true);
  const uint64_t end_ns = engine_.kernel.NowNs() + kErrandPatienceNs;
  while (at_work_.load() && engine_.kernel.NowNs() < end_ns) Nap();
}

// ---- errands

bool Background::Claim(Errand& errand, uint32_t* chunk) {
  uint32_t left = errand.unclaimed.load(std::memory_order_acquire);
  do {
    if (left == 0) return false;
  } while (!errand.unclaimed.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel));
  *chunk = errand.chunks - left;  // rising
  return true;
}

migrators::Errands::Found Background::DoOne() {
  if (held_back_.load(std::memory_order_relaxed)) return Found::kNothingNow;
  if (seen_ == posted_.load(std::memory_order_acquire)) return Found::kNothing;
  at_work_.store(true);  // before the look at stop_
  uint32_t chunk;
  bool done = false;
  while (!done && !stop_.load() && !held_back_.load() &&
         seen_ != posted_.load(std::memory_order_acquire)) {
    Errand& errand = berths_[queue_[seen_ % kQueueLength].load()].errand;
    done = Claim(errand, &chunk);
    if (done)
      Do(errand, chunk);
    else
      ++seen_;
  }
  at_work_.store(false);
  return done ? Found::kOne : Found::kNothing;
}

void Background::Do(Errand& errand, uint32_t chunk) {
  const bool frees = chunk < errand.free_chunks;
  const Range whole = frees ? errand.free : errand.fill;
  const uint64_t step = frees ? kFreeBytes : FillBytes(errand.huge);
  const uint64_t at = (frees ? chunk : chunk - errand.free_chunks) * step;
  const uint64_t length = whole.length - at < step ? whole.length - at : step;
  const Range part{whole.start + at, length};
  Errno error = Errno::kOk;
  // (Who waits for the mmap lock while a huge page is cleared is the mover, and the program. For
  // small pages a fault each costs more than that.)
  if (!frees && errand.huge)
    engine_.kernel.FaultIn(part, kHugeBytes);
  else
    error = engine_.kernel.Advise(part, frees ? Advice::kDontNeed : Advice::kPopulateWrite);
  if (error != Errno::kOk) errand.failed.store(true, std::memory_order_relaxed);
  errand.done.fetch_add(1, std::memory_order_acq_rel);
}

void Background::Post(Berth& berth, Range free, Range fill, bool huge) {
  Errand& errand = berth.errand;
  const auto chunks_of = [](Range range, uint64_t step) {
    return static_cast<uint32_t>((range.length + step - 1) / step);
  };
  errand.free = free;
  errand.fill = fill;
  errand.huge = huge;
  errand.free_chunks = chunks_of(free, kFreeBytes);
  errand.chunks = errand.free_chunks + chunks_of(fill, FillBytes(huge));
  errand.failed.store(false, std::memory_order_relaxed);
  errand.done.store(0, std::memory_order_relaxed);
  errand.unclaimed.store(errand.chunks, std::memory_order_release);
  const uint32_t number = posted_.load(std::memory_order_relaxed);
  queue_[number % kQueueLength].store(static_cast<uint32_t>(&berth - berths_));
  posted_.store(number + 1);
  Ring();
}

// What the helper has not begun is done here. False: it has lost its CPU in the middle, for long.
bool Background::Finish(Errand& errand, Unbegun unbegun) {
  for (uint32_t chunk; Claim(errand, &chunk);)
    if (unbegun == Unbegun::kDo || chunk < errand.free_chunks)
      Do(errand, chunk);
    else
      errand.done.fetch_add(1, std::memory_order_acq_rel);
  const uint64_t end_ns = engine_.kernel.NowNs() + kErrandPatienceNs;
  for (int spins = 0; errand.done.load(std::memory_order_acquire) < errand.chunks; ++spins) {
    if (spins < migrators::kSpinsBeforeSleep) {
      migrators::Pause();
      continue;
    }
    if (engine_.kernel.NowNs() > end_ns) return false;
    Nap();
  }
  return true;
}

// ---- the mover

const Areas* Background::Take(bool huge, Node target) {
  if (stop_.load(std::memory_order_relaxed)) return nullptr;
  for (uint32_t i = 1; i <= kBerths; ++i) {
    const uint32_t index = (taken_ + i) % kBerths;
    Berth& berth = berths_[index];
    if (berth.held || !Finish(berth.errand)) continue;
    taken_ = index;
    if (berth.errand.failed.load(std::memory_order_relaxed)) berth.full[berth.errand.huge] = false;
    UseNode(berth, huge, target);
    return &berth.areas;
  }
  return nullptr;
}

// What is there, also of what was left when there was nothing more to fill, is of the other node.
void Background::UseNode(Berth& berth, bool huge, Node target) {
  if (berth.node[huge] == target) return;
  const Range pool = PoolOf(berth.areas, huge, StrideOf(area_bytes_));
  (void)engine_.kernel.Advise(pool, Advice::kDontNeed);
  (void)engine_.kernel.PreferNode(pool, target);
  berth.node[huge] = target;
  berth.full[huge] = false;
}

bool Background::IsFilled(Range targets, bool huge) const {
  const Berth& berth = berths_[taken_];
  return berth.full[huge] && PoolOf(berth.areas, huge, area_bytes_).Contains(targets);
}

void Background::GiveBack(Range area, Range pool, bool held) {
  const bool huge = engine_.batch.huge;
  const Node target = engine_.batch.target;
  Berth& berth = berths_[taken_];
  berth.held = held;
  if (held) return;
  const Range all = PoolOf(berth.areas, huge, area_bytes_);
  const bool was_full = berth.full[huge];
  Range fill = was_full && all.Contains(pool) ? pool : all;
  const JobResult& result = *engine_.result;
  // Not for what will not be wanted any more.
  const uint64_t pages_left = result.pages_estimated > result.pages_requested
                                  ? result.pages_estimated - result.pages_requested
                                  : 0;
  // (Nor for what is filled as it is copied.)
  if (engine_.batch.fills || pages_left * kPageBytes < kBerths * area_bytes_ ||
      !engine_.headroom.Grants(engine_.kernel, target, fill.length))
    fill = {};
  berth.full[huge] = !fill.empty();
  Post(berth, area, fill, huge);
}

void Background::Empty() {
  for (Berth& berth : berths_) {
    if (berth.held || !Finish(berth.errand, Unbegun::kFreeOnly)) continue;
    for (const bool huge : {false, true}) {
      (void)engine_.kernel.Advise(PoolOf(berth.areas, huge, StrideOf(area_bytes_)),
                                  Advice::kDontNeed);
      berth.full[huge] = false;
    }
  }
}

void Background::TakeBack() {
  for (Berth& berth : berths_) {
    if (!berth.held) continue;
    const Areas& areas = berth.areas;
    for (const uint64_t area :
         {areas.area_small, areas.area_huge, areas.pool_small, areas.pool_huge})
      (void)engine_.kernel.Advise({area, StrideOf(area_bytes_)}, Advice::kDontNeed);
    berth.full[false] = berth.full[true] = berth.held = false;
  }
}

void Background::HoldBack(bool hold) {
  if (engine_.job->max_stall_ns == 0) return;
  held_back_.store(hold);
  if (!hold) Ring();
}

}  // namespace drover::flow
