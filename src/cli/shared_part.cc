#include "cli/shared_part.h"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "cli/kernel_mover.h"
#include "cli/records.h"
#include "kernel/maps_text.h"

namespace drover::cli {
namespace {

// What the second half finds there already the first has moved, or (in a plan) would have. What the
// first could not move has been asked for again. The windows and phases are the first half's, too.
flow::JobResult Sum(const flow::JobResult& first, const flow::JobResult& second, bool plan) {
  flow::JobResult sum = first;
  sum.pages_estimated = second.pages_estimated;
  sum.pages_not_moved = second.pages_not_moved;
  std::copy(std::begin(second.not_moved_why), std::end(second.not_moved_why), sum.not_moved_why);
  if (plan) {
    sum.pages_moved = std::max(second.pages_moved, first.moved_own_path);
    sum.moved_kernel_path = sum.pages_moved - first.moved_own_path;
    sum.pages_already_there = second.pages_already_there;
  } else {
    sum.pages_moved += second.pages_moved;
    sum.moved_kernel_path += second.moved_kernel_path;
    sum.pages_already_there =
        second.pages_already_there - std::min(second.pages_already_there, first.pages_moved);
  }
  sum.pages_gone += second.pages_gone;
  sum.rounds += second.rounds;
  sum.pages_requested =
      sum.pages_moved + sum.pages_already_there + sum.pages_gone + sum.pages_not_moved;
  for (uint32_t i = 0; i < flow::kPhaseCount; ++i) sum.phase_ns[i] += second.phase_ns[i];
  sum.wall_ns += second.wall_ns;
  sum.ended_by = second.ended_by;
  sum.ended_detail = second.ended_detail;
  return sum;
}

// The agent's own memory is no part of what is asked for: its areas, and its image.
void LeaveOutAgent(int pid, const flow::JobResult& first, flow::Job* job) {
  const auto add = [&](Range range) {  // the agent may say anything
    const bool whole_pages = !range.empty() && range.start % kPageBytes == 0 &&
                             range.length % kPageBytes == 0 && range.end() >= range.start;
    if (whole_pages && job->left_out_count < flow::kLeftOutMax)
      job->left_out[job->left_out_count++] = range;
  };
  for (uint32_t i = 0; i < std::min(first.own_count, flow::kOwnRangesMax); ++i) add(first.own[i]);
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  kernel::Mapping mapping;
  for (std::string line; std::getline(maps, line);)
    if (line.ends_with("/libdrover-agent.so") && kernel::ParseMapsLine(line, &mapping))
      add(mapping.range);
}

}  // namespace

std::expected<void, Error> CheckShared(const flow::Placement& placement) {
  const auto usage = [](const char* message) {
    return std::unexpected(Error{Error::Kind::kUsage, message});
  };
  if (placement.same)
    return usage("--shared goes by the kernel path, which cannot do `--to same`; name a node");
  for (uint32_t source = 0; source < placement.node_count; ++source) {
    const int16_t target = placement.target_of[source];
    if (target < 0 || target == static_cast<int16_t>(source)) continue;
    const int16_t onward = placement.target_of[target];
    if (onward != flow::Placement::kNotAsked && onward != target)
      return usage(
          "--shared cannot send one node's pages to a node whose own pages go elsewhere: what has "
          "come there would be moved on; make two moves of it");
  }
  // Without a page to move the kernel looks at the right alone.
  if (syscall(SYS_move_pages, 0, 0, nullptr, nullptr, nullptr, MPOL_MF_MOVE_ALL) != 0)
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 "--shared moves pages under other processes, too, which takes "
                                 "CAP_SYS_NICE; run drover as root"});
  return {};
}

std::expected<flow::JobResult, Error> MoveShared(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& first,
    int records, control::Steering& steering,
    const std::function<void(const control::Progress&)>& progress) {
  if (first.ended_by != flow::Trouble::kNone) return first;
  KeepMoved(records, first.pages_requested);
  flow::Job all = job;
  all.shared = true;
  all.verify = false;  // the kernel checks references by itself
  all.unshare = false;
  all.page_size = flow::PageSize::kKeep;  // (has been done)
  LeaveOutAgent(process.pid, first, &all);
  const auto add = [&](control::Progress now) {
    now.pages_done += first.pages_requested;
    now.pages_estimated += first.pages_requested;
    progress(now);
  };
  const auto second = MoveFromOutside(process, all, flow::JobResult(), records, steering, add);
  if (!second.has_value()) return std::unexpected(second.error());
  return Sum(first, *second, job.plan_only);
}

}  // namespace drover::cli
