#include "flow/untouched.h"

#include "flow/status.h"
#include "flow/table.h"
#include "migrators/copy_by_kernel.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

constexpr uint64_t kTrialBytes = 16 * kPageBytes;
constexpr int kTrials = 3;
constexpr CopyThrough kWays[] = {CopyThrough::kProgram, CopyThrough::kKernel, CopyThrough::kFill,
                                 CopyThrough::kKernelFill};

bool ReadsByKernel(CopyThrough way) {
  return way == CopyThrough::kKernel || way == CopyThrough::kKernelFill;
}
bool Fills(CopyThrough way) {
  return way == CopyThrough::kFill || way == CopyThrough::kKernelFill;
}

void Use(Engine& engine, CopyThrough way) {
  engine.copy.untouched = ReadsByKernel(way) ? migrators::CopyByKernel : nullptr;
  engine.copy.filler = !Fills(way)          ? nullptr
                       : ReadsByKernel(way) ? &engine.fill_by_kernel
                                            : &engine.fill_plainly;
}

// Sources and targets of the trials, which are registered as a batch's pool is.
class TrialMemory {
 public:
  explicit TrialMemory(Engine& engine) : engine_(engine) {
    if (!engine.headroom.Grants(engine.kernel, {-1}, kBytes)) return;
    const auto mapped = MapOwn(engine.kernel, kBytes);
    if (!mapped.has_value()) return;
    room_ = *mapped;
    sources_ = room_.start, targets_ = sources_ + kBytes / 2;
    ready_ = engine.kernel.Advise(room_, Advice::kNoHugePage) == Errno::kOk;
  }
  ~TrialMemory() {
    if (!room_.empty()) engine_.kernel.Unmap(room_);
  }
  TrialMemory(const TrialMemory&) = delete;
  TrialMemory& operator=(const TrialMemory&) = delete;

  bool ready() const { return ready_; }
  // From nothing to a target with the source's content, whose pages nobody has touched. UINT64_MAX:
  // it cannot be done.
  uint64_t ShortestNs(CopyThrough way) {
    uint64_t shortest_ns = UINT64_MAX;
    for (int trial = 0; trial < kTrials; ++trial) {
      const uint64_t took_ns = TakeNs(way);
      shortest_ns = took_ns < shortest_ns ? took_ns : shortest_ns;
    }
    return shortest_ns;
  }

 private:
  static constexpr uint64_t kBytes = 2 * std::size(kWays) * kTrials * kTrialBytes;

  uint64_t TakeNs(CopyThrough way) {
    const uint64_t source = sources_, target = targets_;
    sources_ += kTrialBytes, targets_ += kTrialBytes;
    const Range watched{target, kTrialBytes};
    if (!ready_ ||
        engine_.kernel.Advise({source, kTrialBytes}, Advice::kPopulateWrite) != Errno::kOk)
      return UINT64_MAX;
    const bool fills = Fills(way);
    if (fills &&
        engine_.kernel.Register(watched, kernel::RegisterMode::kWriteProtect) != Errno::kOk)
      return UINT64_MAX;
    const uint64_t begin_ns = engine_.kernel.NowNs();
    bool done = fills || engine_.kernel.Advise(watched, Advice::kPopulateWrite) == Errno::kOk;
    const migrators::Folio folio{source, target, kPageBytes, false, fills};
    done = done && engine_.copy.For({&folio, 1})(target, source, kTrialBytes);
    const uint64_t took_ns = engine_.kernel.NowNs() - begin_ns;
    if (fills && !UnwatchOwn(engine_, watched)) room_ = {};  // better lost than waited for
    return done ? took_ns : UINT64_MAX;
  }

  Engine& engine_;
  Range room_;
  uint64_t sources_ = 0, targets_ = 0;
  bool ready_ = false;
};

// The doubt is against what goes through a buffer, because it takes the caches twice. kAuto: there
// is no memory to try it.
CopyThrough Fastest(Engine& engine) {
  TrialMemory memory(engine);
  if (!memory.ready()) return CopyThrough::kAuto;
  CopyThrough fastest = CopyThrough::kProgram;
  uint64_t shortest_ns = UINT64_MAX;
  for (const CopyThrough way : kWays) {
    Use(engine, way);
    uint64_t took_ns = memory.ShortestNs(way);
    if (ReadsByKernel(way) && took_ns != UINT64_MAX) took_ns += took_ns / 3;
    if (took_ns >= shortest_ns) continue;
    shortest_ns = took_ns;
    fastest = way;
  }
  return fastest;
}

// Of this thread, from which those that copy inherit it. (A kernel that does not say is one that is
// not known.)
bool HasFilter(Engine& engine) {
  if (!RuleHolds(Rule::kReadOwnFilter)) return false;
  uint64_t mode = 0;  // Linux 3.8
  return !StatusNumber(engine.kernel, "Seccomp:", &mode, "/proc/thread-self/status") || mode != 0;
}

}  // namespace

CopyThrough ChooseCopy(Engine& engine) {
  migrators::UseCopyBuffers(reinterpret_cast<uint64_t>(&engine.copy_buffers[0]));
  CopyThrough way = engine.job->copy_through;
  if (way == CopyThrough::kAuto) {
    if (engine.fastest_through == CopyThrough::kAuto)
      engine.fastest_through = HasFilter(engine) ? CopyThrough::kProgram : Fastest(engine);
    way = engine.fastest_through;
  }
  if (way == CopyThrough::kAuto) way = CopyThrough::kProgram;
  if (ReadsByKernel(way) && HasFilter(engine))
    way = Fills(way) ? CopyThrough::kFill : CopyThrough::kProgram;
  Use(engine, way);
  return way;
}

bool FillsTargets(const Engine& engine, bool huge, bool precopied) {
  const Job& job = *engine.job;
  if (engine.copy.filler == nullptr || huge || precopied || job.reuse) return false;
  // There the nodes of what was made are asked for in the window: not where it is to be short.
  if (job.copy_through == CopyThrough::kAuto && job.placement.node_count > 1 &&
      engine.budget.is_limited())
    return false;
  for (const migrators::Spec& spec : job.Engines())
    if (spec.kind != migrators::Kind::kSerial && spec.kind != migrators::Kind::kThreads)
      return false;
  return true;
}

}  // namespace drover::flow
