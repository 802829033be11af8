#include "flow/stand_back.h"

#include "flow/text.h"

namespace drover::flow {
namespace {

using kernel::Errno;
using kernel::SocketKind;
using From = StandBackFrom;

constexpr uint64_t kYoungNapNs = 1'000'000;
constexpr int kYoungLooks = 300;  // on a busy machine a thread may wait long for its first run
constexpr uint32_t kThreadsLookedAt = kControlBlocksMax;

struct Row {
  std::string_view prefix;
  From from;
};
// Devices whose drivers write to user pages, or follow page tables, by ways of their own.
constexpr Row kRows[] = {
    {"/dev/fuse", From::kFuse},
    {"/dev/cuse", From::kFuse},
    {"/dev/kvm", From::kKvm},
    {"anon_inode:kvm", From::kKvm},
    {"/dev/vfio/", From::kDevices},
    {"/dev/iommu", From::kDevices},
    {"/dev/kfd", From::kDevices},
    {"/dev/nvidia-uvm", From::kDevices},
    {"/dev/infiniband/", From::kDevices},
    {"/dev/dsa/", From::kDevices},
    {"/dev/vhost-", From::kDevices},
    {"anon_inode:[userfaultfd]", From::kOwnUserfault},
    {"/dev/userfaultfd", From::kOwnUserfault},
};

Path ProcPath(int32_t pid) {
  Path path;
  path.Add("/proc/");
  return pid == 0 ? path.Add("self") : path.AddNumber(static_cast<uint64_t>(pid), 10);
}

bool HasTracer(const Look& look) {
  char text[4096];
  const auto got = look.kernel.ReadFile(ProcPath(look.pid).Add("/status").c_str(), text);
  if (!got.has_value()) return false;
  std::string_view rest(text, *got), line;
  while (EatLine(&rest, &line)) {
    uint64_t tracer;
    if (EatWord(&line, "TracerPid:")) return EatNumber(&line, &tracer) && tracer != 0;
  }
  return false;
}

// Is mount `id` of a kind on which direct I/O writes through plain references?
bool IsFarMount(const Look& look, uint64_t id) {
  static constexpr uint64_t kMountInfoBytes = 4u << 20;
  const auto buffer = look.kernel.Map(kMountInfoBytes);
  if (!buffer.has_value()) return true;
  const std::span<char> text(reinterpret_cast<char*>(*buffer), kMountInfoBytes);
  bool far = false;
  const auto got = look.kernel.ReadFile(ProcPath(look.pid).Add("/mountinfo").c_str(), text);
  std::string_view rest(text.data(), got.has_value() ? *got : 0), line;
  while (EatLine(&rest, &line)) {  // ID PARENT ... - TYPE SOURCE OPTIONS
    uint64_t number;
    if (!EatNumber(&line, &number) || number != id) continue;
    std::string_view word;
    while (EatUntil(&line, ' ', &word) && word != "-") {
    }
    far = line.starts_with("nfs") || line.starts_with("ceph ") || line.starts_with("9p ");
    break;
  }
  look.kernel.Unmap({*buffer, kMountInfoBytes});
  return far;
}

bool IsFarDirect(const Look& look, int descriptor) {
  constexpr uint64_t kDirect = 040000;  // O_DIRECT
  char text[512];
  Path path = ProcPath(look.pid);
  path.Add("/fdinfo/").AddNumber(static_cast<uint64_t>(descriptor), 10);
  const auto got = look.kernel.ReadFile(path.c_str(), text);
  if (!got.has_value()) return false;
  uint64_t flags = 0, mount = 0;
  std::string_view rest(text, *got), line;
  while (EatLine(&rest, &line)) {
    if (EatWord(&line, "mnt_id:")) (void)EatNumber(&line, &mount);
    if (!EatWord(&line, "flags:")) continue;
    EatSpaces(&line);
    for (const char c : line)
      if (c >= '0' && c <= '7') flags = flags * 8 + static_cast<uint64_t>(c - '0');
  }
  return (flags & kDirect) != 0 && IsFarMount(look, mount);
}

StandBackSet OfDescriptors(const Look& look) {
  struct Seen {
    const Look& look;
    StandBackSet set = 0;
    uint32_t userfaults = 0;
  } seen{look};
  const auto visit = [](void* context, int descriptor, std::string_view target) {
    auto& s = *static_cast<Seen*>(context);
    const StandBackSet set = OfDescriptor(target);
    if (set == SetOf(From::kOwnUserfault))
      ++s.userfaults;
    else
      s.set |= set;
    if (target.starts_with("socket:")) {
      const auto kind = s.look.kernel.LookAtSocket(descriptor);
      if (kind.has_value() && *kind == SocketKind::kKernelTls) s.set |= SetOf(From::kKernelTls);
      if (kind.has_value() && *kind == SocketKind::kXdp) s.set |= SetOf(From::kXdp);
    } else if (target.starts_with("/") && !target.starts_with("/dev/") &&
               IsFarDirect(s.look, descriptor)) {
      s.set |= SetOf(From::kDirectIo);
    }
  };
  (void)look.kernel.VisitDescriptors(visit, &seen);
  if (seen.userfaults > look.own_userfaults) seen.set |= SetOf(From::kOwnUserfault);
  return seen.set;
}

// A thread that was just made tells its robust list a bit later, and one that is ending has dropped
// it: only one that stays without is a stranger.
bool HasRawThreads(const Look& look) {
  constexpr uint64_t kBytes = kThreadsLookedAt * sizeof(int32_t);
  const auto buffer = look.kernel.Map(kBytes);
  if (!buffer.has_value()) return true;
  const std::span<int32_t> ids(reinterpret_cast<int32_t*>(*buffer), kThreadsLookedAt);
  const auto listed = look.kernel.ListThreads(ids);
  bool found = !listed.has_value() || *listed > ids.size();
  uint64_t count = found ? 0 : *listed;
  for (int round = 0; !found; ++round) {
    uint64_t strangers = 0;
    for (uint64_t i = 0; i < count; ++i)
      if (ControlBlocks::IsStranger(look.kernel, look.pid, ids[i])) ids[strangers++] = ids[i];
    count = strangers;
    if (count <= look.own_threads) break;
    found = look.nap == nullptr || round == kYoungLooks;
    const threads::Word nothing = 0;
    if (!found) look.nap->Wait(nothing, 0, kYoungNapNs);
  }
  look.kernel.Unmap({*buffer, kBytes});
  return found;
}

// A fork whose descriptor does not fit into the engine's table could not be heard, and would wait
// for ever.
bool HasDescriptorsLeft(Engine& engine) {
  char text[4096];
  const auto got = engine.kernel.ReadFile("/proc/self/limits", text);
  if (!got.has_value()) return true;
  uint64_t limit = ~uint64_t{0};
  std::string_view rest(text, *got), line;
  while (EatLine(&rest, &line))
    if (EatWord(&line, "Max open files") && !EatNumber(&line, &limit)) limit = ~uint64_t{0};
  uint64_t used = 16;  // of a table of its own: a dozen at most
  if (!engine.own_table) {
    used = 0;
    const auto count = [](void* context, int, std::string_view) {
      ++*static_cast<uint64_t*>(context);
    };
    (void)engine.kernel.VisitDescriptors(count, &used);
  }
  return limit >= used + kDescriptorsSpared;
}

void SetTrouble(Engine& engine, StandBackSet set) {
  engine.result->own_path_trouble = Trouble::kStandsBack;
  engine.result->own_path_detail = set;
}

}  // namespace

StandBackSet OfDescriptor(std::string_view target) {
  for (const Row& row : kRows)
    if (target.starts_with(row.prefix)) return SetOf(row.from);
  return 0;
}

StandBackSet LookAt(const Look& look) {
  StandBackSet set = OfDescriptors(look);
  if (HasTracer(look)) set |= SetOf(From::kTracer);
  if (HasRawThreads(look)) set |= SetOf(From::kRawThreads);
  return set;
}

void StandBack(Engine& engine) {
  if (engine.result->own_path_trouble != Trouble::kNone) return;
  if (!HasDescriptorsLeft(engine)) {
    engine.result->own_path_trouble = Trouble::kDescriptors;
    return;
  }
  StandBackSet set = 0;
  if (engine.seen_calls != nullptr) {
    // Whoever is inside a hooked call has made or opened what it asks for when the gate closes, so
    // the look below finds it; whoever comes later is heard of.
    if (!CloseGate(engine)) return;
    set = engine.seen_calls->fetch_and(kSeenForGood) & kSeenForGood;
    engine.gate.Open();
  }
  // The heads of all threads are known before those without one are waited for: who loses its head
  // later was seen with it.
  if (engine.control_blocks.Find(engine.kernel, engine.layout, engine.young) != Errno::kOk) {
    engine.result->own_path_trouble = Trouble::kThreadsHidden;
    return;
  }
  set |= LookAt({.kernel = engine.kernel,
                 .own_threads = engine.engine_threads,
                 .own_userfaults = engine.visible_userfaults,
                 .nap = &engine.threads});
  if (set != 0) SetTrouble(engine, set);
}

bool HasSeenReason(Engine& engine) {
  if (engine.seen_calls == nullptr) return false;
  const StandBackSet set = engine.seen_calls->load(std::memory_order_acquire);
  if (set != 0) SetTrouble(engine, set);
  return set != 0;
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
