#include "flow/verify.h"

#include <new>

#include "flow/carry_over.h"
#include "flow/checksum.h"
#include "flow/flow.h"
#include "flow/table.h"

namespace drover::flow {
namespace {

using kernel::Advice;

constexpr uint64_t kRoomBytes = RoundUp(sizeof(Verifier), kHugeBytes);
// The object, and a ring for each size: where small pages were a huge one would be split.
constexpr uint64_t kMappedBytes = kRoomBytes + 2 * KeptRing::kBytes + kHugeBytes;

// Between two windows.
void SleepUntil(Engine& engine, uint64_t then_ns) {
  const threads::Word nothing = 0;
  for (uint64_t now_ns; (now_ns = engine.kernel.NowNs()) < then_ns;)
    engine.threads.Wait(nothing, 0, then_ns - now_ns);
}

}  // namespace

bool Verifier::Make(Engine& engine) {
  const auto mapped = MapOwn(engine.kernel, kMappedBytes);
  if (!mapped.has_value()) return false;
  AddOwn(engine, *mapped);
  const uint64_t start = RoundUp(mapped->start, kHugeBytes);
  auto* verifier = new (reinterpret_cast<void*>(start)) Verifier(engine);
  verifier->small_.Use(start + kRoomBytes);
  verifier->huge_.Use(start + kRoomBytes + KeptRing::kBytes);
  (void)engine.kernel.Advise({start + kRoomBytes, KeptRing::kBytes}, Advice::kNoHugePage);
  engine.verifier = verifier;
  engine.verifier_room = *mapped;
  return true;
}

void Verifier::Unmake(Engine& engine) {
  if (engine.verifier == nullptr) return;
  engine.verifier = nullptr;
  RemoveOwn(engine, engine.verifier_room);
  // (Better lost than waited for.)
  if (UnwatchOwn(engine, engine.verifier_room)) engine.kernel.Unmap(engine.verifier_room);
}

void Verifier::JudgeAll() {
  while (kept_pages() > 0) JudgeOldest();
}

bool Verifier::HasRoom(Range live, bool huge, Node target) {
  if (kept_pages() + live.length / kPageBytes > kKeptPagesMax) return false;
  if (RingOf(huge).PlaceFor(live.length) == 0) return false;
  // What is kept is memory that the batch's own pages could take.
  return kept_pages() == 0 || headroom_.Grants(engine_.kernel, target, 2 * live.length);
}

uint64_t Verifier::RoomFor(Range live, bool huge, Node target) {
  // A copy engine that is late may still read an original, and so put a page where none must be.
  if (EnginesHoldAddresses(engine_)) return 0;
  while (!HasRoom(live, huge, target)) {
    JudgeOldest();
    headroom_ = Headroom();
  }
  const uint64_t place = RingOf(huge).PlaceFor(live.length);
  (void)engine_.kernel.Advise({place, live.length}, Advice::kDontNeed);  // (or has done so)
  return place;
}

void Verifier::Compare() {
  constexpr int kTries = 3;
  const PhaseTimer timer(engine_, Phase::kVerify);
  const Batch& batch = engine_.batch;
  uint64_t count = 0;
  engine_.lock.Lock();
  for (uint32_t i = 0; i < batch.page_count; ++i)
    if (batch.state[i] == PageState::kIsolated) isolated_[count++] = i;
  engine_.lock.Unlock();
  for (uint64_t k = 0; k < count; ++k) {  // (an event may drop some of them meanwhile)
    const uint64_t i = isolated_[k];
    const uint64_t original = batch.area + i * kPageBytes, copy = batch.TargetOf(i);
    if (batch.side[i] == Side::kNone) continue;
    bool equal = false;
    checksums_[i] = CompareAndSum(copy, original, &equal);
    for (int tries = 0; tries < kTries && !equal; ++tries) {
      if (tries == 0) ++engine_.result->copied_again;
      engine_.copy.small(copy, original, kPageBytes);
      checksums_[i] = CompareAndSum(copy, original, &equal);
    }
    ++engine_.result->pages_compared;
  }
}

bool Verifier::Keep() {
  const Batch& batch = engine_.batch;
  KeptRing& ring = RingOf(batch.huge);
  if (!engine_.verifier_room.Contains(batch.area)) return false;
  bool any = false;
  engine_.lock.Lock();
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    if (batch.state[i] != PageState::kRemapped) continue;
    if (!any)
      ring.Begin({.area = {batch.area, batch.live.length},
                  .since_ns = engine_.kernel.NowNs(),
                  .huge = batch.huge,
                  .target = batch.target});
    any = true;
    ring.AddPage({batch.address[i], batch.area + i * kPageBytes, checksums_[i]});
  }
  engine_.lock.Unlock();
  return any;
}

void Verifier::JudgeOldest() {
  KeptRing& ring =
      huge_.empty() || (!small_.empty() && small_.oldest().since_ns <= huge_.oldest().since_ns)
          ? small_
          : huge_;
  const KeptBatch batch = ring.oldest();
  const PhaseTimer timer(engine_, Phase::kVerify);
  SleepUntil(engine_, batch.since_ns + kKeptAtLeastNs);
  for (uint32_t round = 1; Judge(ring, batch) && round < kLateRoundsMax; ++round)
    SleepUntil(engine_, engine_.kernel.NowNs() + kKeptAtLeastNs);
  (void)engine_.kernel.Advise(batch.area, Advice::kDontNeed);
  ring.DropOldest();
}

bool Verifier::Judge(KeptRing& ring, const KeptBatch& batch) {
  bool carried = false;
  for (uint32_t i = 0; i < batch.page_count; ++i) {
    KeptPage& page = ring.PageOf(batch, i);
    if (page.live == 0 || ChecksumOfPage(page.original) == page.checksum) continue;
    const LateWrite late = CarryOver(engine_, page, batch.huge, batch.target);
    JobResult& result = *engine_.result;
    ++result.late_writes[static_cast<uint32_t>(late.fate)];
    if (result.late_named < kLateWritesNamed) result.late[result.late_named++] = late;
    if (late.fate == LateFate::kCarriedOver)
      carried = true;
    else
      page.live = 0;
  }
  return carried;
}

}  // namespace drover::flow
