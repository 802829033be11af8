#include "cli/records.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "kernel/linux_kernel.h"
#include "topology/process_status.h"

namespace drover::cli {
namespace {

// The most pages that the process has ever had addresses for; 0: it has ended.
uint64_t PagesMax(int pid) {
  const std::string peak = topology::StatusWord(fmt::format("/proc/{}", pid), "VmPeak:");
  return std::strtoull(peak.c_str(), nullptr, 10) * 1024 / kPageBytes;
}

bool IsOutcome(const control::PageRecord& record, flow::Outcome outcome) {
  return static_cast<flow::Outcome>(record.outcome) == outcome;
}

}  // namespace

Records::Records(int file, int pid, uint64_t pages_requested)
    : file_(file), pages_max_(std::min(pages_requested, PagesMax(pid))) {}

void Records::ForEach(const std::function<void(const control::PageRecord&)>& visit) const {
  std::vector<control::PageRecord> some(4096);
  uint64_t pages = 0;
  for (off_t at = 0;;) {
    const ssize_t got = pread(file_, some.data(), some.size() * sizeof some[0], at);
    const size_t count = got > 0 ? static_cast<size_t>(got) / sizeof some[0] : 0;
    if (count == 0) return;
    at += static_cast<off_t>(count * sizeof some[0]);
    for (size_t i = 0; i < count; ++i) {
      control::PageRecord record = some[i];
      // Each stands for a page at least, so this bounds their number, too.
      pages += std::max(record.pages, 1u);
      if (pages > pages_max_ || record.address % kPageBytes != 0) return;
      for (uint32_t left = record.pages; left > 0; left -= record.pages) {
        record.pages = std::min(left, kPiecePages);
        visit(record);
        record.address += record.pages * kPageBytes;
      }
    }
  }
}

void KeepMoved(int file, uint64_t pages_requested) {
  constexpr size_t kSome = 1024;
  std::vector<control::PageRecord> some(kSome);
  const uint64_t records_max = std::min<uint64_t>(pages_requested, INT64_MAX / sizeof some[0]);
  const auto end = static_cast<off_t>(records_max * sizeof some[0]);
  off_t from = 0, to = 0;
  for (ssize_t got;
       from < end && (got = pread(file, some.data(), kSome * sizeof some[0], from)) > 0;
       from += got) {
    some.resize(static_cast<size_t>(got) / sizeof some[0]);
    std::erase_if(some,
                  [](const auto& record) { return !IsOutcome(record, flow::Outcome::kMoved); });
    const size_t bytes = some.size() * sizeof some[0];
    if (pwrite(file, some.data(), bytes, to) != static_cast<ssize_t>(bytes)) break;
    to += static_cast<off_t>(bytes);
    some.resize(kSome);
  }
  if (ftruncate(file, to) == 0) lseek(file, to, SEEK_SET);
}

std::optional<uint64_t> CountMovedBack(int pid, const flow::Placement& placement,
                                       const Records& records) {
  if (placement.same) return std::nullopt;
  kernel::LinuxKernel kernel;
  if (kernel.OpenProcess(pid) != kernel::Errno::kOk) return std::nullopt;
  uint64_t elsewhere = 0;
  std::vector<uint64_t> addresses;
  std::vector<int32_t> node_of;
  records.ForEach([&](const control::PageRecord& record) {
    if (!IsOutcome(record, flow::Outcome::kMoved)) return;
    addresses.clear();
    for (uint64_t i = 0; i < record.pages; ++i)
      addresses.push_back(record.address + i * kPageBytes);
    node_of.assign(addresses.size(), -1);
    if (kernel.QueryNodes(addresses, node_of) != kernel::Errno::kOk) return;
    for (const int32_t node : node_of) elsewhere += node >= 0 && node != record.target;
  });
  kernel.Close();
  return elsewhere;
}

namespace {

// Flags of page frames, for root.
class FrameFlags {
 public:
  FrameFlags() : file_(open("/proc/kpageflags", O_RDONLY | O_CLOEXEC)) {}
  ~FrameFlags() { close(file_); }
  FrameFlags(const FrameFlags&) = delete;
  FrameFlags& operator=(const FrameFlags&) = delete;

  bool known() const { return file_ >= 0; }
  bool IsMerged(const kernel::PageEntry& entry) const {
    constexpr uint64_t kKsm = uint64_t{1} << 21;  // KPF_KSM, uapi/linux/kernel-page-flags.h
    uint64_t flags = 0;
    if (!entry.present() || entry.frame() == 0) return false;
    const auto at = static_cast<off_t>(entry.frame() * sizeof flags);
    return pread(file_, &flags, sizeof flags, at) == sizeof flags && (flags & kKsm) != 0;
  }
  // Linux 6.12 says so of every anonymous page (fs/proc/page.c tests a mask of two bits for any of
  // them): seen at a page of our own that nobody has merged.
  bool SaysSoOfAll() const {
    kernel::LinuxKernel kernel;
    alignas(kPageBytes) volatile char own[kPageBytes];
    own[0] = 1;
    kernel::PageEntry entry;
    const bool read =
        kernel.OpenProcess(getpid()) == kernel::Errno::kOk &&
        kernel.ReadEntries(reinterpret_cast<uint64_t>(&own[0]), {&entry, 1}) == kernel::Errno::kOk;
    kernel.Close();
    return read && IsMerged(entry);
  }

 private:
  int file_;
};

uint64_t MergedPagesOf(int pid) {
  uint64_t pages = 0;  // Linux 6.1
  std::ifstream("/proc/" + std::to_string(pid) + "/ksm_merging_pages") >> pages;
  return pages;
}

}  // namespace

uint64_t CountMerged(int pid, const Records& records) {
  const FrameFlags flags;
  kernel::LinuxKernel kernel;
  if (!flags.known() || kernel.OpenProcess(pid) != kernel::Errno::kOk) return 0;
  const uint64_t at_most = flags.SaysSoOfAll() ? MergedPagesOf(pid) : UINT64_MAX;
  uint64_t merged = 0;
  std::vector<kernel::PageEntry> entries;
  records.ForEach([&](const control::PageRecord& record) {
    if (!IsOutcome(record, flow::Outcome::kNotMoved) ||
        static_cast<flow::Why>(record.why) != flow::Why::kShared)
      return;
    entries.assign(record.pages, {});
    if (kernel.ReadEntries(record.address, entries) != kernel::Errno::kOk) return;
    for (const kernel::PageEntry& entry : entries) merged += flags.IsMerged(entry);
  });
  kernel.Close();
  return std::min(merged, at_most);
}

}  // namespace drover::cli
