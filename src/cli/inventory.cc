#include "cli/inventory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <set>

#include "control/agents.h"
#include "control/printable.h"
#include "flow/collect.h"
#include "kernel/linux_kernel.h"
#include "kernel/maps_text.h"
#include "report/words.h"
#include "topology/process_status.h"

namespace drover::cli {
namespace {

using flow::Why;
using kernel::Errno;
using kernel::LinuxKernel;

constexpr size_t kRegions = 2048;
constexpr uint64_t kChunkPages = 2048;

// What is behind the numbers of a line of /proc/PID/maps.
std::string NameIn(const std::string& line) {
  size_t at = 0;
  for (int field = 0; field < 5 && at != std::string::npos; ++field) {
    at = line.find(' ', at);
    at = at == std::string::npos ? at : line.find_first_not_of(' ', at);
  }
  return at == std::string::npos ? "" : line.substr(at);
}

MemoryKind KindOf(const kernel::Mapping& mapping, const std::string& name) {
  if (mapping.special || mapping.kernels_own) return MemoryKind::kSpecial;
  if (mapping.stack) return MemoryKind::kStack;
  if (name == "[heap]") return MemoryKind::kHeap;
  if (name.starts_with("/anon_hugepage") || name.starts_with("/dev/hugepages/"))
    return MemoryKind::kHugetlb;
  if (mapping.shared) return MemoryKind::kShared;
  return mapping.file ? MemoryKind::kFile : MemoryKind::kPrivate;
}

// The first addresses of the mappings that are marked so.
std::set<uint64_t> Marked(LinuxKernel& kernel, kernel::Marked how) {
  std::vector<Range> ranges(flow::kUnlikeRangesMax);
  auto listed = kernel.ListMarked(how, ranges);
  if (listed.has_value() && *listed > ranges.size()) {
    ranges.resize(*listed);
    listed = kernel.ListMarked(how, ranges);
  }
  ranges.resize(std::min<size_t>(listed.value_or(0), ranges.size()));
  std::set<uint64_t> starts;
  for (const Range& range : ranges) starts.insert(range.start);
  return starts;
}

class Walker {
 public:
  Walker(LinuxKernel& kernel, bool huge_disabled)
      : kernel_(kernel),
        regions_(kRegions),
        locked_(Marked(kernel, kernel::Marked::kLocked)),
        keyed_(Marked(kernel, kernel::Marked::kKeyed)),
        huge_disabled_(huge_disabled) {}

  void Count(MappingCounts& counts) {
    const Range range = counts.mapping.range;
    why_ = WhyOf(counts);
    if (why_ != Why::kNone) counts.why = report::WordsOf(why_).why;
    ForEachRegion(range, kernel::kPagePresent, kernel::kPageHuge | kernel::kPageZero,
                  [&](const kernel::PageRegion& region) { CountPresent(counts.pages, region); });
    ForEachRegion(range, kernel::kPageSwapped, 0, [&](const kernel::PageRegion& region) {
      counts.pages.swapped += (region.end - region.start) / kPageBytes;
    });
  }

 private:
  Why WhyOf(const MappingCounts& counts) const {
    if (counts.kind == MemoryKind::kSpecial) return Why::kNotMovable;
    if (counts.kind == MemoryKind::kHugetlb) return Why::kHugetlb;
    const Why why = flow::WhyNotOwn(counts.mapping);
    if (why != Why::kNone) return why;
    if (locked_.contains(counts.mapping.range.start)) return Why::kLocked;
    return keyed_.contains(counts.mapping.range.start) ? Why::kProtectionKey : Why::kNone;
  }

  template <class Visit>
  void ForEachRegion(Range range, uint64_t required, uint64_t report, const Visit& visit) {
    uint64_t walk_end = range.start;
    for (Range left = range; !left.empty(); left = {walk_end, range.end() - walk_end}) {
      const auto found = kernel_.Scan(left, required, 0, report, regions_, &walk_end);
      if (!found.has_value() || walk_end <= left.start) return;
      for (uint64_t k = 0; k < *found; ++k) visit(regions_[k]);
    }
  }

  void CountPresent(PageCounts& pages, const kernel::PageRegion& region) {
    const uint64_t count = (region.end - region.start) / kPageBytes;
    if ((region.categories & kernel::kPageZero) != 0) {
      pages.zero += count;
      return;
    }
    pages.present += count;
    const bool huge = (region.categories & kernel::kPageHuge) != 0;
    if (huge) pages.huge += count;
    for (uint64_t first = 0; first < count; first += kChunkPages) {
      const uint64_t some = std::min(kChunkPages, count - first);
      const bool none_comes = why_ == Why::kNone && huge && huge_disabled_;
      CountChunk(pages, region.start + first * kPageBytes, some,
                 none_comes ? Why::kHugeDisabled : why_);
    }
  }

  void CountChunk(PageCounts& pages, uint64_t start, uint64_t count, Why why) {
    addresses_.resize(count);
    nodes_.assign(count, -1);
    entries_.assign(count, {});
    for (uint64_t i = 0; i < count; ++i) addresses_[i] = start + i * kPageBytes;
    (void)kernel_.QueryNodes(addresses_, nodes_);
    (void)kernel_.ReadEntries(start, entries_);
    for (uint64_t i = 0; i < count; ++i) {
      if (nodes_[i] >= 0 && nodes_[i] < static_cast<int32_t>(flow::kNodesMax))
        ++pages.on_node[static_cast<size_t>(nodes_[i])];
      else
        ++pages.unplaced;
      Why cause = why;
      if (!entries_[i].exclusive() && why != Why::kNotMovable)
        cause = why == Why::kNone ? Why::kShared : Why::kSeveralProcesses;
      const bool stays = cause == Why::kNotMovable || !entries_[i].exclusive();
      const Movability how = cause == Why::kNone ? Movability::kOwnPath
                             : stays             ? Movability::kNot
                                                 : Movability::kKernelPath;
      ++pages.movable[static_cast<size_t>(how)];
      if (cause != Why::kNone) ++pages.why[static_cast<size_t>(cause)];
    }
  }

  LinuxKernel& kernel_;
  std::vector<kernel::PageRegion> regions_;
  std::vector<uint64_t> addresses_;
  std::vector<int32_t> nodes_;
  std::vector<kernel::PageEntry> entries_;
  const std::set<uint64_t> locked_, keyed_;
  const bool huge_disabled_;  // by the process, so that no other huge page can come there
  Why why_ = Why::kNone;      // of the mapping in hand
};

bool SwitchesHugePagesOff(int pid) {
  return topology::StatusWord(fmt::format("/proc/{}", pid), "THP_enabled:") == "0";
}

}  // namespace

const char* NameOf(MemoryKind kind) {
  static constexpr const char* kNames[kMemoryKinds] = {"heap",   "stack",   "private", "file",
                                                       "shared", "hugetlb", "special"};
  return kNames[static_cast<size_t>(kind)];
}

const char* NameOf(Movability movability) {
  static constexpr const char* kNames[kMovabilities] = {"own path", "kernel path only",
                                                        "not movable"};
  return kNames[static_cast<size_t>(movability)];
}

void PageCounts::Add(const PageCounts& other) {
  for (size_t i = 0; i < on_node.size(); ++i) on_node[i] += other.on_node[i];
  for (size_t i = 0; i < movable.size(); ++i) movable[i] += other.movable[i];
  for (size_t i = 0; i < why.size(); ++i) why[i] += other.why[i];
  present += other.present;
  unplaced += other.unplaced;
  huge += other.huge;
  zero += other.zero;
  swapped += other.swapped;
}

std::expected<void, Error> WalkMemory(int pid,
                                      const std::function<void(const MappingCounts&)>& visit) {
  const auto before = control::ReadProcess(pid);
  LinuxKernel kernel;
  const Errno opened = kernel.OpenProcess(pid);
  if (!before.has_value() || opened == Errno::kNoEntry || opened == Errno::kNoProcess)
    return std::unexpected(
        Error{Error::Kind::kTargetGone, fmt::format("process {} has ended meanwhile", pid)});
  if (opened != Errno::kOk)
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 fmt::format("process {} may not be looked at: {}; run drover as "
                                             "its user or as root",
                                             pid, std::strerror(static_cast<int>(opened)))});
  Walker walker(kernel, SwitchesHugePagesOff(pid));
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  for (std::string line; std::getline(maps, line);) {
    MappingCounts counts;
    if (!kernel::ParseMapsLine(line, &counts.mapping)) continue;
    const size_t space = line.find(' ');
    counts.rights = space == std::string::npos ? "" : line.substr(space + 1, 4);
    counts.name = NameIn(line);
    counts.kind = KindOf(counts.mapping, counts.name);
    if (counts.name == "[vsyscall]") continue;
    control::MakePrintable(counts.name);
    walker.Count(counts);
    if (counts.pages.present + counts.pages.zero + counts.pages.swapped > 0) visit(counts);
  }
  kernel.Close();
  if (control::LookAgain(*before) != control::Still::kSame)
    return std::unexpected(control::NotTheSame(*before));
  return {};
}

}  // namespace drover::cli
