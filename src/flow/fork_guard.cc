#include "flow/fork_guard.h"

#include "flow/waits.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

bool IsApplications(const Engine& engine, Range range) {
  for (uint32_t i = 0; i < engine.dont_fork_count; ++i)
    if (engine.dont_fork[i].Overlaps(range)) return true;
  return false;
}

bool Guards(const Engine& engine) {
  return !engine.fork_events && RuleHolds(Rule::kGuardFork);
}

}  // namespace

bool FindDontFork(Engine& engine) {
  if (engine.fork_events) return true;
  if (engine.dont_fork_changed != nullptr) engine.dont_fork_changed->store(0);
  const auto listed = engine.kernel.ListMarked(kernel::Marked::kDontFork, engine.dont_fork);
  engine.dont_fork_count = 0;
  if (!listed.has_value() || *listed > kDontForkRangesMax) {
    engine.result->own_path_trouble = Trouble::kDontForkRanges;
    return false;
  }
  // The engine's own ranges are among them; one may have merged with a mapping of the
  // application's.
  for (uint64_t i = 0; i < *listed; ++i)
    if (!engine.IsWhollyOwn(engine.dont_fork[i]))
      engine.dont_fork[engine.dont_fork_count++] = engine.dont_fork[i];
  return true;
}

Errno GuardFromForks(Engine& engine) {
  Batch& batch = engine.batch;
  batch.guarded = Guards(engine) && !IsApplications(engine, batch.live);
  if (!batch.guarded) return Errno::kOk;
  ++engine.result->windows_guarded;
  const LockTimer lock(engine);
  return engine.kernel.Advise(batch.live, Advice::kDontFork);
}

void UnguardFromForks(Engine& engine, Range range) {
  if (!engine.batch.guarded || engine.IsOwn(range) || IsApplications(engine, range)) return;
  // ENOMEM says that a part is unmapped by now; the rest is done.
  (void)engine.kernel.Advise(range, Advice::kDoFork);
}

}  // namespace drover::flow
