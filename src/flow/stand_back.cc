#include "flow/stand_back.h"

#include "flow/text.h"

namespace drover::flow {
namespace {

using kernel::Errno;

constexpr uint64_t kYoungNapNs = 1'000'000;
constexpr int kYoungLooks = 300;  // on a busy machine a thread may wait long for its first run

struct Row {
  std::string_view prefix;
  StandBackFrom from;
};
// Devices whose drivers write to user pages, or follow page tables, by ways of their own.
constexpr Row kRows[] = {
    {"/dev/fuse", StandBackFrom::kFuse},
    {"/dev/cuse", StandBackFrom::kFuse},
    {"/dev/kvm", StandBackFrom::kKvm},
    {"anon_inode:kvm", StandBackFrom::kKvm},
    {"/dev/vfio/", StandBackFrom::kDevices},
    {"/dev/iommu", StandBackFrom::kDevices},
    {"/dev/kfd", StandBackFrom::kDevices},
    {"/dev/nvidia-uvm", StandBackFrom::kDevices},
    {"/dev/infiniband/", StandBackFrom::kDevices},
    {"/dev/dsa/", StandBackFrom::kDevices},
    {"/dev/vhost-", StandBackFrom::kDevices},
    {"anon_inode:[userfaultfd]", StandBackFrom::kOwnUserfault},
};

bool HasTracer(Engine& engine) {
  char text[4096];
  const auto got = engine.kernel.ReadFile("/proc/self/status", text);
  if (!got.has_value()) return false;
  std::string_view rest(text, *got), line;
  while (EatLine(&rest, &line)) {
    uint64_t tracer;
    if (EatWord(&line, "TracerPid:")) return EatNumber(&line, &tracer) && tracer != 0;
  }
  return false;
}

// A thread that was just made tells its robust list a bit later, and one that is ending has dropped
// it: only one that stays without is a
// stranger.
bool HasRawThreads(Engine& engine) {
  const std::span ids(engine.nodes);  // free between batches
  const auto listed = engine.kernel.ListThreads(ids);
  if (!listed.has_value() || *listed > ids.size()) return true;
  uint64_t count = *listed;
  for (int look = 0;; ++look) {
    uint64_t strangers = 0;
    for (uint64_t i = 0; i < count; ++i)
      if (ControlBlocks::IsStranger(engine.kernel, ids[i])) ids[strangers++] = ids[i];
    count = strangers;
    if (count <= engine.engine_threads) return false;
    if (look == kYoungLooks) return true;
    const threads::Word nothing = 0;
    engine.threads.Wait(nothing, 0, kYoungNapNs);
  }
}

StandBackFrom Find(Engine& engine) {
  if (HasTracer(engine)) return StandBackFrom::kTracer;
  struct Seen {
    StandBackFrom from = StandBackFrom::kNothing;
    uint32_t userfaults = 0;
  } seen;
  const auto visit = [](void* context, std::string_view target) {
    auto& s = *static_cast<Seen*>(context);
    const StandBackFrom from = OfDescriptor(target);
    if (from == StandBackFrom::kOwnUserfault)
      ++s.userfaults;
    else if (s.from == StandBackFrom::kNothing)
      s.from = from;
  };
  (void)engine.kernel.VisitDescriptors(visit, &seen);
  if (seen.from != StandBackFrom::kNothing) return seen.from;
  if (seen.userfaults > engine.visible_userfaults) return StandBackFrom::kOwnUserfault;
  return HasRawThreads(engine) ? StandBackFrom::kRawThreads : StandBackFrom::kNothing;
}

}  // namespace

StandBackFrom OfDescriptor(std::string_view target) {
  for (const Row& row : kRows)
    if (target.starts_with(row.prefix)) return row.from;
  return StandBackFrom::kNothing;
}

void StandBack(Engine& engine) {
  if (engine.result->own_path_trouble != Trouble::kNone) return;
  const StandBackFrom from = Find(engine);
  if (from == StandBackFrom::kNothing) return;
  engine.result->own_path_trouble = Trouble::kStandsBack;
  engine.result->own_path_detail = static_cast<uint32_t>(from);
}

void CheckMappings(Engine& engine) {
  if (!RuleHolds(Rule::kSpareMappings)) return;
  char text[32];
  uint64_t most = 0;
  const auto got = engine.kernel.ReadFile("/proc/sys/vm/max_map_count", text);
  if (!got.has_value()) return;
  std::string_view rest(text, *got);
  if (!EatNumber(&rest, &most)) return;
  uint64_t count = 0;
  for (uint64_t at = 0;; ++count) {
    const auto mapping = engine.kernel.NextMapping(at);
    if (!mapping.has_value()) break;
    at = mapping->range.end();
  }
  if (count + kMappingsSpared > most) engine.result->own_path_trouble = Trouble::kMappings;
}

}  // namespace drover::flow
