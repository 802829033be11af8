#include "flow/phases.h"
#include "flow/targets.h"

namespace drover::flow {
namespace {

void Refuse(Batch& batch, uint64_t first, uint64_t count, Why why) {
  for (uint64_t i = first; i < first + count; ++i)
    if (batch.state[i] == PageState::kWanted) {
      batch.state[i] = PageState::kRefused;
      batch.why[i] = why;
    }
}

// The run of wanted pages that starts at `first`.
uint64_t WantedEnd(const Batch& batch, uint64_t first) {
  uint64_t end = first;
  while (end < batch.page_count && batch.state[end] == PageState::kWanted) ++end;
  return end;
}

}  // namespace

void Prepare(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kPrepare);
  const Batch& batch = engine.batch;
  ReadyPool(engine, batch.pool);
  for (uint64_t first = 0; first < batch.page_count;) {
    const uint64_t end = WantedEnd(batch, first);
    if (end > first) FillTargets(engine, batch.pool, first, end - first, Refuse);
    first = end > first ? end : first + 1;
  }
}

}  // namespace drover::flow
