#include "flow/headroom.h"

#include <string_view>

#include "flow/rules.h"
#include "flow/text.h"

namespace drover::flow {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

// The number in a file of one number; kNoLimit where there is no such file, or it says "max".
uint64_t NumberIn(kernel::Kernel& kernel, const char* path) {
  char text[64];
  const auto got = kernel.ReadFile(path, text);
  if (!got.has_value()) return kNoLimit;
  std::string_view rest(text, *got);
  uint64_t value;
  return EatNumber(&rest, &value) ? value : kNoLimit;
}

struct GroupFiles {
  const char* mount;
  const char* usage;
  const char* limits[2];
};

constexpr GroupFiles kVersion1 = {"/sys/fs/cgroup/memory",
                                  "/memory.usage_in_bytes",
                                  {"/memory.limit_in_bytes", "/memory.soft_limit_in_bytes"}};
constexpr GroupFiles kVersion2 = {
    "/sys/fs/cgroup", "/memory.current", {"/memory.max", "/memory.high"}};
constexpr GroupFiles kHybrid = {
    "/sys/fs/cgroup/unified", "/memory.current", {"/memory.max", "/memory.high"}};

// The least free in `group` and all groups above it.
uint64_t FreeInGroup(kernel::Kernel& kernel, const GroupFiles& files, std::string_view group) {
  uint64_t least = kNoLimit;
  for (;;) {
    while (group.size() > 0 && group.back() == '/') group.remove_suffix(1);
    Path base;
    base.Add(files.mount);
    base.Add(group);
    const uint64_t usage = NumberIn(kernel, Path(base).Add(files.usage).c_str());
    if (usage != kNoLimit) {
      // Version 1's soft limit kills nobody; it is left out.
      const int count = &files == &kVersion1 ? 1 : 2;
      for (int i = 0; i < count; ++i) {
        const uint64_t limit = NumberIn(kernel, Path(base).Add(files.limits[i]).c_str());
        if (limit == kNoLimit) continue;
        const uint64_t free = limit > usage ? limit - usage : 0;
        if (free < least) least = free;
      }
    }
    if (group.empty()) return least;
    const size_t slash = LastSlash(group);
    group = {group.data(), slash};
  }
}

}  // namespace

uint64_t FreeBelowGroupLimits(kernel::Kernel& kernel, int32_t pid) {
  char text[4096];
  Path path;
  path.Add("/proc/");
  if (pid == 0)
    path.Add("self");
  else
    path.AddNumber(static_cast<uint64_t>(pid), 10);
  const auto got = kernel.ReadFile(path.Add("/cgroup").c_str(), text);
  if (!got.has_value()) return kNoLimit;
  uint64_t least = kNoLimit;
  std::string_view rest(text, *got), line;
  while (EatLine(&rest, &line)) {  // ID:CONTROLLERS:PATH
    std::string_view id, controllers;
    if (!EatUntil(&line, ':', &id) || !EatUntil(&line, ':', &controllers)) continue;
    uint64_t free = kNoLimit;
    if (HasItem(controllers, "memory")) free = FreeInGroup(kernel, kVersion1, line);
    if (controllers.empty()) {
      free = FreeInGroup(kernel, kVersion2, line);
      const uint64_t hybrid = FreeInGroup(kernel, kHybrid, line);
      if (hybrid < free) free = hybrid;
    }
    if (free < least) least = free;
  }
  return least;
}

uint64_t FreeOnNode(kernel::Kernel& kernel, Node node) {
  // About 1.5 KiB a zone, and 60 bytes a CPU and zone.
  static constexpr uint64_t kZoneInfoBytes = 1u << 20;
  const auto buffer = kernel.Map(kZoneInfoBytes);
  if (!buffer.has_value()) return 0;
  const std::span<char> text(reinterpret_cast<char*>(*buffer), kZoneInfoBytes);
  uint64_t pages = 0;
  const auto got = kernel.ReadFile("/proc/zoneinfo", text);
  if (got.has_value()) {
    std::string_view rest(text.data(), *got), line;
    bool ours = false;
    uint64_t free = 0;
    while (EatLine(&rest, &line)) {
      uint64_t value;
      if (EatWord(&line, "Node")) {
        ours = EatNumber(&line, &value) && (node.id < 0 || value == static_cast<uint64_t>(node.id));
      } else if (ours && EatWord(&line, "pages free")) {
        free = EatNumber(&line, &value) ? value : 0;
      } else if (ours && EatWord(&line, "low")) {
        if (EatNumber(&line, &value) && free > value) pages += free - value;
        free = 0;
      }
    }
  }
  kernel.Unmap({*buffer, kZoneInfoBytes});
  return pages * kPageBytes;
}

Headroom::Look& Headroom::At(kernel::Kernel& kernel, Node node, uint64_t enough_bytes) {
  const uint64_t now_ns = kernel.NowNs();
  if (looks_[last_].node != node || looks_[last_].ns == 0) last_ = 1 - last_;
  Look& look = looks_[last_];
  if (look.node == node && look.ns != 0 && now_ns - look.ns <= kHeadroomAgeNs &&
      look.free_bytes >= enough_bytes)
    return look;
  const uint64_t on_node = FreeOnNode(kernel, node);
  const uint64_t in_groups = FreeBelowGroupLimits(kernel, 0);
  look = {node, now_ns, on_node < in_groups ? on_node : in_groups};
  return look;
}

bool Headroom::Grants(kernel::Kernel& kernel, Node node, uint64_t bytes) {
  if (!RuleHolds(Rule::kHeadroom)) return true;
  Look& look = At(kernel, node, 2 * bytes);
  if (look.free_bytes < 2 * bytes) return false;
  // (Of all nodes there is but one amount below the control group's limits, and of this machine.)
  for (Look& each : looks_) each.free_bytes -= each.free_bytes < bytes ? each.free_bytes : bytes;
  return true;
}

uint64_t Headroom::Room(kernel::Kernel& kernel, Node node) {
  if (!RuleHolds(Rule::kHeadroom)) return kBatchBytesMax;
  return At(kernel, node, 0).free_bytes / 2;
}

}  // namespace drover::flow
