#include "cli/records.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "kernel/linux_kernel.h"

namespace drover::cli {

std::vector<control::PageRecord> ReadRecords(int file, uint64_t pages_requested) {
  const off_t bytes = lseek(file, 0, SEEK_END);
  const uint64_t written =
      bytes > 0 ? static_cast<uint64_t>(bytes) / sizeof(control::PageRecord) : 0;
  std::vector<control::PageRecord> records(std::min(written, pages_requested));
  const ssize_t got = pread(file, records.data(), records.size() * sizeof records[0], 0);
  records.resize(got > 0 ? static_cast<size_t>(got) / sizeof records[0] : 0);
  uint64_t pages = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    pages += records[i].pages;
    if (pages <= pages_requested && records[i].address % kPageBytes == 0) continue;
    records.resize(i);
    break;
  }
  return records;
}

std::optional<uint64_t> CountMovedBack(int pid, const flow::Placement& placement,
                                       const std::vector<control::PageRecord>& records) {
  if (placement.same) return std::nullopt;
  kernel::LinuxKernel kernel;
  if (kernel.OpenProcess(pid) != kernel::Errno::kOk) return std::nullopt;
  constexpr uint64_t kChunkPages = 4096;
  uint64_t elsewhere = 0;
  std::vector<uint64_t> addresses;
  std::vector<int32_t> node_of;
  for (const auto& record : records) {
    if (static_cast<flow::Outcome>(record.outcome) != flow::Outcome::kMoved) continue;
    for (uint64_t first = 0; first < record.pages; first += kChunkPages) {
      const uint64_t end = std::min<uint64_t>(first + kChunkPages, record.pages);
      addresses.clear();
      for (uint64_t i = first; i < end; ++i) addresses.push_back(record.address + i * kPageBytes);
      node_of.assign(addresses.size(), -1);
      if (kernel.QueryNodes(addresses, node_of) != kernel::Errno::kOk) continue;
      for (const int32_t node : node_of) elsewhere += node >= 0 && node != record.target;
    }
  }
  kernel.Close();
  return elsewhere;
}

uint64_t CountMerged(int pid, const std::vector<control::PageRecord>& records) {
  constexpr uint64_t kKsm = uint64_t{1} << 21;  // KPF_KSM, uapi/linux/kernel-page-flags.h
  const int flags_file = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
  kernel::LinuxKernel kernel;
  if (flags_file < 0 || kernel.OpenProcess(pid) != kernel::Errno::kOk) return 0;
  uint64_t merged = 0;
  for (const auto& record : records) {
    if (static_cast<flow::Outcome>(record.outcome) != flow::Outcome::kNotMoved ||
        static_cast<flow::Why>(record.why) != flow::Why::kShared)
      continue;
    for (uint64_t i = 0; i < record.pages; ++i) {
      kernel::PageEntry entry;
      uint64_t flags = 0;
      if (kernel.ReadEntries(record.address + i * kPageBytes, {&entry, 1}) != kernel::Errno::kOk ||
          !entry.present() || entry.frame() == 0)
        continue;
      const auto at = static_cast<off_t>(entry.frame() * sizeof flags);
      if (pread(flags_file, &flags, sizeof flags, at) == sizeof flags)
        merged += (flags & kKsm) != 0;
    }
  }
  kernel.Close();
  close(flags_file);
  return merged;
}

}  // namespace drover::cli
