#include "cli/witness.h"

#include <algorithm>
#include <vector>

#include "kernel/linux_kernel.h"

namespace drover::cli {
namespace {

constexpr uint64_t kPagesPerLook = 4096;

// Calls visit(address, entry) for each page of the range that is there.
template <class Visit>
void ForEachPage(kernel::LinuxKernel& kernel, Range range, const Visit& visit) {
  std::vector<kernel::PageRegion> regions(kPagesPerLook);
  std::vector<kernel::PageEntry> entries;
  uint64_t walk_end = range.start;
  for (Range left = range; !left.empty(); left = {walk_end, range.end() - walk_end}) {
    const auto found =
        kernel.Scan(left, kernel::kPagePresent, kernel::kPageZero, 0, regions, &walk_end);
    if (!found.has_value() || walk_end <= left.start) return;
    for (uint64_t k = 0; k < *found; ++k)
      for (uint64_t at = regions[k].start; at < regions[k].end;) {
        entries.resize(std::min((regions[k].end - at) / kPageBytes, kPagesPerLook));
        if (kernel.ReadEntries(at, entries) == kernel::Errno::kOk)
          for (size_t i = 0; i < entries.size(); ++i) visit(at + i * kPageBytes, entries[i]);
        at += entries.size() * kPageBytes;
      }
  }
}

}  // namespace

Witness::Witness(int pid, const flow::Job& job, bool look) : pid_(pid) {
  if (!look) return;
  kernel::LinuxKernel kernel;
  if (kernel.OpenProcess(pid) != kernel::Errno::kOk) return;
  for (uint64_t at = 0;;) {
    const auto mapping = kernel.NextMapping(at);
    if (!mapping.has_value()) break;
    at = mapping->range.end();
    bool asked =
        job.range_count == 0 && !mapping->special && (!mapping->shared || job.AsksForFiles());
    for (uint32_t i = 0; i < job.range_count; ++i)
      asked = asked || job.ranges[i].Overlaps(mapping->range);
    if (!asked) continue;
    ForEachPage(kernel, mapping->range, [&](uint64_t address, kernel::PageEntry entry) {
      if (!entry.present() || entry.frame() == 0) return;
      sees_ = true;
      frames_.emplace(address, entry.frame());
    });
  }
  kernel.Close();
}

std::optional<double> Witness::ShareSeenToMove(const Records& records) const {
  kernel::LinuxKernel kernel;
  if (!sees_ || kernel.OpenProcess(pid_) != kernel::Errno::kOk) return std::nullopt;
  uint64_t moved = 0, changed = 0;
  std::vector<kernel::PageEntry> entries;
  records.ForEach([&](const control::PageRecord& record) {
    if (static_cast<flow::Outcome>(record.outcome) != flow::Outcome::kMoved) return;
    entries.assign(record.pages, {});
    if (kernel.ReadEntries(record.address, entries) != kernel::Errno::kOk) return;
    for (uint64_t i = 0; i < record.pages; ++i) {
      const auto before = frames_.find(record.address + i * kPageBytes);
      // Freed since, or not there when the first look was taken: no witness for it.
      if (before == frames_.end() || !entries[i].present()) continue;
      ++moved;
      changed += before->second != entries[i].frame();
    }
  });
  kernel.Close();
  if (moved == 0) return std::nullopt;
  return static_cast<double>(changed) / static_cast<double>(moved);
}

}  // namespace drover::cli
