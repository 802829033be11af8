#include "flow/events.h"
#include "flow/phases.h"

namespace drover::flow {

// The order matters: first nobody waits any more, then no event names these pages any more, and
// only then are the originals freed, so that freeing them raises no event of its own.
void Release(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kRelease);
  Batch& batch = engine.batch;
  (void)engine.kernel.Wake(batch.live);
  (void)engine.kernel.Unregister(batch.live);
  for (uint32_t i = 0; i < batch.followed_count; ++i)
    (void)engine.kernel.Unregister(batch.followed[i]);
  (void)engine.kernel.Unregister({batch.area, batch.live.length});
  // What was read of the application's last changes must not be left in the queue.
  engine.lock.Lock();
  Drain(engine);
  engine.lock.Unlock();
}

}  // namespace drover::flow
