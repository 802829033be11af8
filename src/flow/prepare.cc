#include "flow/phases.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

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

// A preference is no promise: pages that the kernel put on another node are given back.
void CheckNode(Engine& engine, uint64_t first, uint64_t count) {
  Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  uint64_t asked = 0;
  for (uint64_t i = first; i < first + count; i += step)
    engine.addresses[asked++] = batch.pool + i * kPageBytes;
  const bool known =
      engine.kernel.QueryNodes({engine.addresses, asked}, {engine.nodes, asked}) == Errno::kOk;
  for (uint64_t k = 0; k < asked; ++k) {
    if (known && engine.nodes[k] == batch.target.id) continue;
    const uint64_t i = first + k * step;
    (void)engine.kernel.Advise({batch.pool + i * kPageBytes, step * kPageBytes}, Advice::kDontNeed);
    Refuse(batch, i, step, Why::kNoTargetMemory);
  }
}

// A huge page can only take the place of a huge page.
void CheckHuge(Engine& engine, uint64_t first, uint64_t count) {
  Batch& batch = engine.batch;
  for (uint64_t i = first; i < first + count; i += kPagesPerHuge) {
    const uint64_t slot = batch.pool + i * kPageBytes;
    kernel::PageRegion region;
    uint64_t walk_end;
    const auto found =
        engine.kernel.Scan({slot, kHugeBytes}, kernel::kPagePresent, kernel::kPageZero,
                           kernel::kPageHuge, {&region, 1}, &walk_end);
    if (found.has_value() && *found == 1 && region.start == slot &&
        region.end == slot + kHugeBytes && (region.categories & kernel::kPageHuge) != 0)
      continue;
    (void)engine.kernel.Advise({slot, kHugeBytes}, Advice::kDontNeed);
    Refuse(batch, i, kPagesPerHuge, Why::kNoTargetHuge);
  }
}

}  // namespace

void Prepare(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kPrepare);
  Batch& batch = engine.batch;
  // An application's mlockall locks what it finds; a locked pool would not fit unlocked pages.
  (void)engine.kernel.Unlock({batch.pool, batch.live.length});
  if (engine.job->placement.node_count > 1)
    (void)engine.kernel.PreferNode({batch.pool, batch.live.length}, batch.target);
  for (uint64_t first = 0; first < batch.page_count;) {
    const uint64_t end = WantedEnd(batch, first);
    if (end == first) {
      ++first;
      continue;
    }
    const Range run{batch.pool + first * kPageBytes, (end - first) * kPageBytes};
    if (!engine.headroom.Grants(engine.kernel, batch.target, run.length) ||
        engine.kernel.Advise(run, Advice::kPopulateWrite) != Errno::kOk) {
      Refuse(batch, first, end - first, Why::kNoTargetMemory);
    } else {
      if (batch.huge) CheckHuge(engine, first, end - first);
      if (engine.job->placement.node_count > 1 && RuleHolds(Rule::kCheckTargetNode))
        CheckNode(engine, first, end - first);
    }
    first = end;
  }
}

}  // namespace drover::flow
