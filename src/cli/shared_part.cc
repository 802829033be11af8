#include "cli/shared_part.h"

#include <linux/capability.h>

#include <cstdlib>
#include <string>

#include "cli/kernel_mover.h"
#include "topology/process_status.h"

namespace drover::cli {
namespace {

// The figures of the first half, which knows the windows and the own path, and the pages of both.
flow::JobResult Sum(flow::JobResult sum, const flow::JobResult& second) {
  sum.pages_estimated += second.pages_estimated;
  sum.pages_requested += second.pages_requested;
  sum.pages_moved += second.pages_moved;
  sum.pages_already_there += second.pages_already_there;
  sum.pages_gone += second.pages_gone;
  sum.pages_not_moved += second.pages_not_moved;
  sum.moved_kernel_path += second.moved_kernel_path;
  for (uint32_t i = 0; i < flow::kWhyCount; ++i) sum.not_moved_why[i] += second.not_moved_why[i];
  for (uint32_t i = 0; i < flow::kPhaseCount; ++i) sum.phase_ns[i] += second.phase_ns[i];
  sum.wall_ns += second.wall_ns;
  sum.ended_by = second.ended_by;
  sum.ended_detail = second.ended_detail;
  return sum;
}

}  // namespace

std::expected<void, Error> CheckShared(const flow::Placement& placement) {
  if (placement.same)
    return std::unexpected(Error{Error::Kind::kUsage,
                                 "--shared goes by the kernel path, which cannot do `--to same`; "
                                 "name a node"});
  const std::string rights = topology::StatusWord("/proc/self", "CapEff:");
  if ((std::strtoull(rights.c_str(), nullptr, 16) >> CAP_SYS_NICE & 1) == 0)
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 "--shared moves pages under other processes, too, which takes "
                                 "CAP_SYS_NICE; run drover as root"});
  return {};
}

std::expected<flow::JobResult, Error> MoveShared(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& first,
    int records, const std::atomic<bool>& cancel,
    const std::function<void(const control::Progress&)>& progress) {
  if (first.ended_by != flow::Trouble::kNone) return first;
  flow::Job others = job;
  others.scope = flow::Scope::kOthers;
  others.verify = false;  // the kernel checks references by itself
  const auto add = [&](control::Progress now) {
    now.pages_done += first.pages_requested;
    now.pages_estimated += first.pages_requested;
    progress(now);
  };
  const auto second = MoveFromOutside(process, others, flow::JobResult(), records, cancel, add);
  if (!second.has_value()) return std::unexpected(second.error());
  return Sum(first, *second);
}

}  // namespace drover::cli
