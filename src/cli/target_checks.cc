#include "cli/target_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <vector>

#include "cli/exit_codes.h"
#include "cli/sizes.h"
#include "flow/headroom.h"
#include "kernel/linux_kernel.h"

namespace drover::cli {
namespace {

using kernel::LinuxKernel;

std::expected<void, Error> CheckRanges(LinuxKernel& kernel, int pid, const flow::Job& job) {
  for (uint32_t i = 0; i < job.range_count; ++i) {
    const auto mapping = kernel.NextMapping(job.ranges[i].start);
    if (!mapping.has_value() || mapping->range.start >= job.ranges[i].end())
      return std::unexpected(Unavailable(
          fmt::format("nothing is mapped in {:#x}-{:#x} of process {}; see /proc/{}/maps",
                      job.ranges[i].start, job.ranges[i].end(), pid, pid)));
  }
  return {};
}

// In which of the job's ranges; range_count: in none.
uint32_t RangeOf(const flow::Job& job, uint64_t page) {
  uint32_t i = 0;
  while (i < job.range_count && !job.ranges[i].Contains(page)) ++i;
  return i;
}

// Calls visit(range, node) for each page that the job asks for.
template <class Visit>
void ForEachAsked(LinuxKernel& kernel, const flow::Job& job, const Visit& visit) {
  std::vector<kernel::PageRegion> regions(4096);
  std::vector<uint64_t> addresses;
  std::vector<int32_t> node_of;
  const uint64_t forbidden =
      job.AsksForFiles() ? kernel::kPageZero : kernel::kPageFile | kernel::kPageZero;
  for (uint64_t at = 0;;) {
    const auto mapping = kernel.NextMapping(at);
    if (!mapping.has_value()) return;
    at = mapping->range.end();
    if (mapping->special || (mapping->shared && !job.AsksForFiles())) continue;
    uint64_t walk_end = mapping->range.start;
    for (Range left = mapping->range; !left.empty(); left = {walk_end, at - walk_end}) {
      const auto found = kernel.Scan(left, kernel::kPagePresent, forbidden, 0, regions, &walk_end);
      if (!found.has_value() || walk_end <= left.start) break;
      for (uint64_t k = 0; k < *found; ++k) {
        addresses.clear();
        for (uint64_t page = regions[k].start; page < regions[k].end; page += kPageBytes)
          if (job.range_count == 0 || RangeOf(job, page) < job.range_count)
            addresses.push_back(page);
        node_of.assign(addresses.size(), -1);
        if (addresses.empty() || kernel.QueryNodes(addresses, node_of) != kernel::Errno::kOk)
          continue;
        for (size_t i = 0; i < addresses.size(); ++i)
          if (node_of[i] >= 0 && node_of[i] < static_cast<int32_t>(flow::kNodesMax))
            visit(RangeOf(job, addresses[i]), node_of[i]);
      }
    }
  }
}

// Bytes that would have to come to each target node; of an exchange: more than leave it.
std::map<int, uint64_t> BytesToCome(LinuxKernel& kernel, const flow::Job& job) {
  std::map<int, uint64_t> coming, going;
  ForEachAsked(kernel, job, [&](uint32_t range, int32_t node) {
    const int16_t target = job.TargetOf(range, node);
    if (target < 0 || target == node) return;
    coming[target] += kPageBytes;
    going[node] += kPageBytes;
  });
  for (auto& [node, bytes] : coming)
    if (job.exchange.on) bytes -= std::min(bytes, going[node]);
  return coming;
}

std::expected<void, Error> CheckNodes(LinuxKernel& kernel, const flow::Job& job) {
  if (job.placement.same) return {};
  for (const auto& [node, bytes] : BytesToCome(kernel, job)) {
    const uint64_t free = flow::FreeOnNode(kernel, Node{node});
    if (bytes <= free) continue;
    return std::unexpected(Unavailable(
        fmt::format("{} would have to come to node {}, which has {} free; free memory there, name "
                    "more nodes, or move less with --range",
                    HumanBytes(bytes), node, HumanBytes(free))));
  }
  return {};
}

// The agent's pool holds a batch beside its originals, and populating beyond a limit kills.
std::expected<void, Error> CheckGroup(LinuxKernel& kernel, int pid, const flow::Job& job) {
  const uint64_t free = flow::FreeBelowGroupLimits(kernel, pid);
  if (free >= 2 * job.batch_bytes) return {};
  return std::unexpected(Unavailable(fmt::format(
      "the control group of process {} has {} left below its memory limit, and a batch needs {}; "
      "raise memory.max or memory.high, or take a smaller --batch",
      pid, HumanBytes(free), HumanBytes(2 * job.batch_bytes))));
}

std::expected<void, Error> OpenToLookAt(LinuxKernel& kernel, int pid) {
  const auto opened = kernel.OpenProcess(pid);
  if (opened == kernel::Errno::kNoProcess || opened == kernel::Errno::kNoEntry)
    return std::unexpected(
        Error{Error::Kind::kTargetGone, fmt::format("process {} has ended", pid)});
  if (opened != kernel::Errno::kOk)
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 fmt::format("process {} may not be looked at; run drover as its "
                                             "user or as root",
                                             pid)});
  return {};
}

}  // namespace

std::expected<std::map<int, uint64_t>, Error> PagesByNode(int pid,
                                                          const std::vector<Range>& ranges) {
  std::map<int, uint64_t> pages;
  LinuxKernel kernel;
  if (const auto opened = OpenToLookAt(kernel, pid); !opened.has_value())
    return std::unexpected(opened.error());
  flow::Job job;
  job.range_count = static_cast<uint32_t>(ranges.size());
  std::copy(ranges.begin(), ranges.end(), job.ranges);
  ForEachAsked(kernel, job, [&](uint32_t, int32_t node) { ++pages[node]; });
  kernel.Close();
  return pages;
}

std::map<int, Need> MemoryNeeded(int pid, const flow::Job& job) {
  std::map<int, Need> needs;
  LinuxKernel kernel;
  if (job.placement.same || kernel.OpenProcess(pid) != kernel::Errno::kOk) return needs;
  for (const auto& [node, bytes] : BytesToCome(kernel, job))
    needs[node] = {bytes, flow::FreeOnNode(kernel, Node{node})};
  kernel.Close();
  return needs;
}

std::expected<void, Error> CheckRangesAndMemory(int pid, const flow::Job& job,
                                                const topology::Nodes&) {
  LinuxKernel kernel;
  if (const auto opened = OpenToLookAt(kernel, pid); !opened.has_value()) return opened;
  auto checked = CheckRanges(kernel, pid, job);
  if (checked.has_value()) checked = CheckNodes(kernel, job);
  if (checked.has_value()) checked = CheckGroup(kernel, pid, job);
  kernel.Close();
  return checked;
}

}  // namespace drover::cli
