#include "flow/unlike.h"

#include "flow/status.h"

namespace drover::flow {

void StartUnlike(Engine& engine) {
  engine.unlike_known = false;
  engine.unlike_count = 0;
  if (!engine.job->own_path || engine.result->own_path_trouble != Trouble::kNone) return;
  uint64_t locked_kib = 0;
  const bool known = StatusNumber(engine.kernel, "VmLck:", &locked_kib);
  if (engine.job->plan_only || (known && locked_kib > 0)) LearnUnlike(engine);
}

void LearnUnlike(Engine& engine) {
  if (engine.unlike_known) return;
  engine.unlike_known = true;
  const auto listed = engine.kernel.ListMarked(kernel::Marked::kUnlike, engine.unlike);
  if (!listed.has_value()) return;  // each page then refuses by itself
  engine.unlike_count =
      *listed < kUnlikeRangesMax ? static_cast<uint32_t>(*listed) : kUnlikeRangesMax;
}

bool IsUnlike(const Engine& engine, uint64_t address) {
  for (uint32_t i = 0; i < engine.unlike_count; ++i)
    if (engine.unlike[i].Contains(address)) return true;
  return false;
}

}  // namespace drover::flow
