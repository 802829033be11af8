#include "flow/phases.h"
#include "flow/reuse.h"
#include "flow/runs.h"
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

// The CPU, or a hypervisor with page tables of its own, comes to know a page at the first touch by
// its address: up to 6 us a small page there. Better before the window than in it.
void TouchTargets(const Batch& batch) {
  for (uint64_t i = 0; i < batch.page_count; i += batch.folio_pages())
    if (batch.state[i] == PageState::kWanted)
      *reinterpret_cast<volatile uint8_t*>(batch.pool + i * kPageBytes) = 0;
}

}  // namespace

void Prepare(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kPrepare);
  const Batch& batch = engine.batch;
  ReadyPool(engine, batch.pool);
  FreeUnwanted(engine);
  const uint64_t count = batch.page_count;
  const auto next = [&](uint64_t at) {
    return FindNext(batch.state, at, count, PageState::kWanted);
  };
  for (uint64_t first = next(0), end; first < count; first = next(end)) {
    end = RunEnd(batch.state, first, count, PageState::kWanted);
    FillTargets(engine, batch.pool, first, end - first, Refuse);
  }
  // (What is copied ahead is touched by that.)
  if (engine.budget.is_limited() && !batch.precopied && !batch.fills) TouchTargets(batch);
}

}  // namespace drover::flow
