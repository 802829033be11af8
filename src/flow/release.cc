#include "flow/events.h"
#include "flow/fork_guard.h"
#include "flow/phases.h"
#include "flow/table.h"
#include "flow/waits.h"

namespace drover::flow {

namespace {

using kernel::Errno;

// What only a lack of memory refuses is asked again: a registration that is left behind would let
// the program wait for an engine that is gone, and an mremap over its border fails when it has
// moved a part.
kernel::Result<kernel::Mapping> NextMapping(Engine& engine, uint64_t at) {
  auto mapping = engine.kernel.NextMapping(at);
  for (uint32_t tries = 1;
       !mapping.has_value() && mapping.error() == Errno::kNoMemory && tries < kUnregisterTriesMax;
       ++tries)
    mapping = engine.kernel.NextMapping(at);
  return mapping;
}

// UNREGISTER refuses a range as a whole when one mapping in it cannot be watched, as a file that
// the application has put into the place of some of its pages: then each mapping by itself.
void Unwatch(Engine& engine, Range range) {
  const LockTimer lock(engine);
  if (engine.kernel.Unregister(range) == Errno::kOk) return;
  uint32_t tries = 0;
  for (uint64_t at = range.start; at < range.end();) {
    const auto mapping = NextMapping(engine, at);
    if (!mapping.has_value() || mapping->range.start >= range.end()) return;
    const uint64_t start = mapping->range.start > at ? mapping->range.start : at;
    const uint64_t end = mapping->range.end() < range.end() ? mapping->range.end() : range.end();
    const Errno error = engine.kernel.Unregister({start, end - start});
    if (error == Errno::kNoMemory && ++tries < kUnregisterTriesMax) continue;
    at = end;
  }
}

void LetGoOf(Engine& engine, Range range) {
  Unwatch(engine, range);
  UnguardFromForks(engine, range);
}

// A mapping that grows out of the range (mremap inside libc's realloc, a stack that grows down)
// takes its registration along, and the kernel does not tell. What then begins, or ends, exactly at
// the border is a mapping of its own, because its neighbour is registered no longer. If it has
// grown again meanwhile, there is another one behind it.
void LetGoOfGrowth(Engine& engine, Range range) {
  for (uint64_t at = range.end(), tries = 0; tries < kGrowthTriesMax; ++tries) {
    const auto mapping = NextMapping(engine, at);
    if (!mapping.has_value() || mapping->range.start != at) break;
    LetGoOf(engine, mapping->range);
    at = mapping->range.end();
    const auto again = NextMapping(engine, at - kPageBytes);
    if (!again.has_value() || again->range.end() == at) break;
  }
  const auto below = NextMapping(engine, range.start - kPageBytes);
  if (below.has_value() && below->range.end() == range.start) LetGoOf(engine, below->range);
}

// Of all mappings: which of them are registered is not known any more. A registration that is left
// behind would let the program wait for an engine that is gone.
void LetGoOfAll(Engine& engine) {
  for (uint64_t at = 0;;) {
    const auto mapping = NextMapping(engine, at);
    if (!mapping.has_value()) return;
    LetGoOf(engine, mapping->range);
    at = mapping->range.end();
  }
}

// Where the originals are still there, a watch for write protection ends with a change of each
// entry, though none is protected (userfaultfd_clear_vma, uffd_wp_range: 45 us for 512); one for
// missing pages leaves them alone. Who touches a hole of the area in between (mlockall) waits no
// longer than that: the end of the watch wakes, if the fault thread has not done so before.
void UnwatchArea(Engine& engine) {
  const Range area{engine.batch.area, engine.batch.live.length};
  const bool switched = !engine.batch.huge && engine.batch.any_away &&
                        engine.kernel.Register(area, kernel::RegisterMode::kMissing) == Errno::kOk;
  if (!UnwatchOwn(engine, area) && switched)
    (void)engine.kernel.Register(area, kernel::RegisterMode::kWriteProtect);
}

}  // namespace

// The order matters: first nobody waits any more, then no event names these pages any more, and
// only then are the originals freed, so that freeing them raises no event of its own.
void Release(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kRelease);
  Batch& batch = engine.batch;
  (void)engine.kernel.Wake(batch.live);
  LetGoOf(engine, batch.live);
  LetGoOfGrowth(engine, batch.live);
  UnwatchArea(engine);
  (void)UnwatchPool(engine);
  engine.lock.Lock();
  // What the application has carried away by mremap is still registered, and its event may come
  // only now: the kernel raises it after the mapping has moved. IsChanging till it is read.
  uint32_t followed = 0;
  for (bool changing = true; changing || followed < batch.followed_count;) {
    for (; followed < batch.followed_count; ++followed) {
      LetGoOf(engine, batch.followed[followed]);
      LetGoOfGrowth(engine, batch.followed[followed]);
    }
    Drain(engine);
    changing = IsChanging(engine);
  }
  if (batch.follows_more) LetGoOfAll(engine);
  batch.guarded = false;
  engine.lock.Unlock();
}

}  // namespace drover::flow
