#include "flow/phases.h"

namespace drover::flow {
namespace {

// Longer than any copy of a batch takes, unless the engine hangs.
constexpr uint64_t kMigratorPatienceNs = 10'000'000'000;

bool AllIsolated(const Batch& batch, uint64_t first, uint64_t count) {
  for (uint64_t i = first; i < first + count; ++i)
    if (batch.state[i] != PageState::kIsolated) return false;
  return true;
}

// The isolated folios. A huge page of which a part was dropped or has not come out is no folio any
// more: its isolated pages are copied here and now.
uint64_t ListFolios(Engine& engine) {
  const Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  uint64_t count = 0;
  for (uint64_t first = 0; first < batch.page_count; first += step) {
    const uint64_t source = batch.area + first * kPageBytes;
    const uint64_t target = batch.pool + first * kPageBytes;
    if (AllIsolated(batch, first, step)) {
      engine.folios[count++] = {source, target, step * kPageBytes, false};
      continue;
    }
    for (uint64_t i = 0; batch.huge && i < step; ++i)
      if (batch.state[first + i] == PageState::kIsolated)
        engine.copy(target + i * kPageBytes, source + i * kPageBytes, kPageBytes);
  }
  return count;
}

}  // namespace

void Copy(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kCopy);
  // An application's discard of an isolated page only changes its state: the copy is then wasted.
  engine.lock.Lock();
  const std::span folios(engine.folios, ListFolios(engine));
  engine.lock.Unlock();
  if (folios.empty()) return;
  // The second areas are never given to helpers: nobody would know when they let go of them.
  const bool offered = engine.migrator != engine.helpers || engine.batch.for_helpers;
  if (offered && engine.migrator->Submit(folios) == migrators::Answer::kTaken)
    while (!engine.migrator->Poll(engine.kernel.NowNs() + kMigratorPatienceNs)) {
    }
  for (const migrators::Folio& folio : folios)
    if (!folio.copied) engine.copy(folio.target, folio.source, folio.length_bytes);
}

}  // namespace drover::flow
