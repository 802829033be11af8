#include "flow/unlike.h"

#include "flow/status.h"

namespace drover::flow {
namespace {

void List(Engine& engine, kernel::Marked how, Why why) {
  const uint32_t room = kUnlikeRangesMax - engine.unlike_count;
  const auto listed = engine.kernel.ListMarked(how, {engine.unlike + engine.unlike_count, room});
  if (!listed.has_value()) return;  // each page then refuses by itself
  const uint32_t count = *listed < room ? static_cast<uint32_t>(*listed) : room;
  for (uint32_t i = 0; i < count; ++i) engine.unlike_why[engine.unlike_count++] = why;
}

}  // namespace

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
  List(engine, kernel::Marked::kLocked, Why::kLocked);
  List(engine, kernel::Marked::kKeyed, Why::kProtectionKey);
}

Why WhyUnlike(const Engine& engine, uint64_t address) {
  for (uint32_t i = 0; i < engine.unlike_count; ++i)
    if (engine.unlike[i].Contains(address)) return engine.unlike_why[i];
  return Why::kNone;
}

}  // namespace drover::flow
