#include "flow/cycles.h"
#include "flow/events.h"
#include "flow/phases.h"
#include "flow/put_back.h"

namespace drover::flow {

void Remap(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kRemap);
  Batch& batch = engine.batch;
  engine.lock.Lock();
  if (RuleHolds(Rule::kDrainBeforeIn)) Drain(engine);
  PutBack(engine, 0, batch.page_count);
  const uint64_t closed_ns = engine.kernel.NowNs();
  batch.closed_cycles = Cycles();
  batch.window_pages = 0;
  for (uint64_t i = 0; i < batch.page_count; ++i)
    if (batch.state[i] == PageState::kRemapped || batch.state[i] == PageState::kRestored ||
        batch.state[i] == PageState::kDropped)
      ++batch.window_pages;
  batch.window_ns = closed_ns - batch.opened_ns;
  if (batch.window_pages > 0) engine.result->windows.Add(batch.window_ns);
  for (uint32_t i = 0; i < engine.waiter_count; ++i)
    engine.result->stalls.Add(closed_ns - engine.waiters[i].since_ns);
  engine.waiter_count = 0;
  batch.opened_ns = 0;
  engine.lock.Unlock();
}

}  // namespace drover::flow
