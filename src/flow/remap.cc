#include "flow/cycles.h"
#include "flow/events.h"
#include "flow/phases.h"
#include "flow/put_back.h"
#include "flow/runs.h"
#include "flow/waits.h"

namespace drover::flow {

namespace {

// Everybody who waited goes on now.
void CloseWindow(Engine& engine) {
  Batch& batch = engine.batch;
  WindowTimes& window = batch.window;
  const uint64_t closed_ns = engine.kernel.NowNs();
  window.closed_cycles = Cycles();
  window.pages = 0;
  for (uint64_t i = 0, end; i < batch.page_count; i = end) {
    const PageState state = batch.state[i];
    end = RunEnd(batch.state, i, batch.page_count, state);
    const bool was_away = state == PageState::kRemapped || state == PageState::kRestored ||
                          state == PageState::kDropped;
    window.pages += was_away ? end - i : 0;
  }
  window.length_ns = closed_ns - window.opened_ns;
  window.opened_ns = 0;
  if (window.pages > 0) engine.result->windows.Add(window.length_ns);
  for (uint32_t i = 0; i < engine.waiter_count; ++i) {
    const Waiter& waiter = engine.waiters[i];
    const uint64_t waited_ns = closed_ns - waiter.since_ns;
    engine.result->stalls.Add(waited_ns);
    NoteLongWait({batch.live.start + waiter.page_index * kPageBytes, waited_ns, waiter.phase},
                 engine.result);
  }
  engine.waiter_count = 0;
}

}  // namespace

void Remap(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kRemap);
  engine.lock.Lock();
  if (RuleHolds(Rule::kDrainBeforeIn)) Drain(engine);
  PutBack(engine, 0, engine.batch.page_count);
  CloseWindow(engine);
  engine.lock.Unlock();
}

}  // namespace drover::flow
