#include "flow/events.h"
#include "flow/fork_guard.h"
#include "flow/phases.h"

namespace drover::flow {

namespace {

using kernel::Errno;

// UNREGISTER refuses a range as a whole when one mapping in it cannot be watched, as a file that
// the application has put into the place of some of its pages: then each mapping by itself.
void Unwatch(Engine& engine, Range range) {
  if (engine.kernel.Unregister(range) == Errno::kOk) return;
  for (uint64_t at = range.start; at < range.end();) {
    const auto mapping = engine.kernel.NextMapping(at);
    if (!mapping.has_value() || mapping->range.start >= range.end()) return;
    const uint64_t start = mapping->range.start > at ? mapping->range.start : at;
    const uint64_t end = mapping->range.end() < range.end() ? mapping->range.end() : range.end();
    (void)engine.kernel.Unregister({start, end - start});
    at = end;
  }
}

// Of all mappings: which of them are registered is not known any more. A registration that is left
// behind would let the program wait for an engine that is gone.
void UnwatchAll(Engine& engine) {
  for (uint64_t at = 0;;) {
    const auto mapping = engine.kernel.NextMapping(at);
    if (!mapping.has_value()) return;
    (void)engine.kernel.Unregister(mapping->range);
    at = mapping->range.end();
  }
}

}  // namespace

// The order matters: first nobody waits any more, then no event names these pages any more, and
// only then are the originals freed, so that freeing them raises no event of its own.
void Release(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kRelease);
  Batch& batch = engine.batch;
  (void)engine.kernel.Wake(batch.live);
  Unwatch(engine, batch.live);
  Unwatch(engine, {batch.area, batch.live.length});
  engine.lock.Lock();
  // What the application has carried away by mremap is still registered, and its event may come
  // only now: the kernel raises it after the mapping has moved. Till it is read every call of this
  // kind says kAgain; the spare page is registered nowhere, so nothing is filled.
  uint32_t followed = 0;
  for (bool changing = true; changing || followed < batch.followed_count;) {
    while (followed < batch.followed_count) Unwatch(engine, batch.followed[followed++]);
    Drain(engine);
    changing = engine.kernel.ZeroPage(engine.spare_page) == Errno::kAgain;
  }
  if (batch.follows_more) UnwatchAll(engine);
  UnguardFromForks(engine);
  engine.lock.Unlock();
}

}  // namespace drover::flow
