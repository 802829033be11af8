// The real kernel: page tables, mappings and nodes, of this process or another.
#include <fcntl.h>
#include <linux/mempolicy.h>

#include "kernel/abi.h"
#include "kernel/linux_kernel.h"
#include "kernel/maps_text.h"
#include "kernel/raw_syscall.h"

namespace drover::kernel {

Errno LinuxKernel::ReadEntries(uint64_t start, std::span<PageEntry> entries) {
  static_assert(sizeof(PageEntry) == 8);
  uint64_t at_bytes = 0;
  while (at_bytes < entries.size_bytes()) {
    const int64_t got = RawSyscallRetry(
        __NR_pread64, Arg(descriptors_.pagemap), AddressOf(entries.data()) + at_bytes,
        entries.size_bytes() - at_bytes, start / kPageBytes * sizeof(PageEntry) + at_bytes);
    if (got < 0) return ErrnoOf(got);
    if (got == 0) return Errno::kFault;  // beyond the address space
    at_bytes += static_cast<uint64_t>(got);
  }
  return Errno::kOk;
}

Result<uint64_t> LinuxKernel::Scan(Range range, uint64_t required, uint64_t forbidden,
                                   uint64_t report, std::span<PageRegion> regions,
                                   uint64_t* walk_end) {
  static_assert(sizeof(PageRegion) == 24);
  abi::PagemapScan scan{};
  scan.size = sizeof scan;
  scan.start = range.start;
  scan.end = range.end();
  scan.regions = AddressOf(regions.data());
  scan.regions_room = regions.size();
  scan.inverted = forbidden;
  scan.required = required | forbidden;
  scan.report = report | required;
  const int64_t count =
      RawSyscallRetry(__NR_ioctl, Arg(descriptors_.pagemap), abi::kPagemapScan, AddressOf(&scan));
  if (ErrnoOf(count) == Errno::kNotTty || ErrnoOf(count) == Errno::kInvalid)
    return ScanEntries(range, required, forbidden, report, regions, walk_end);
  if (count < 0) return std::unexpected(ErrnoOf(count));
  // With a full vector walk_end is where the walk stopped; it may lie within the last region's end.
  *walk_end = scan.walk_end;
  return static_cast<uint64_t>(count);
}

// Before Linux 6.7: the same from pagemap entries. It cannot tell huge pages and zero pages.
Result<uint64_t> LinuxKernel::ScanEntries(Range range, uint64_t required, uint64_t forbidden,
                                          uint64_t report, std::span<PageRegion> regions,
                                          uint64_t* walk_end) {
  uint64_t count = 0;
  PageEntry entries[512];
  for (uint64_t at = range.start; at < range.end();) {
    const uint64_t left = (range.end() - at) / kPageBytes;
    const std::span chunk(entries, left < 512 ? left : 512);
    if (const Errno error = ReadEntries(at, chunk); error != Errno::kOk)
      return std::unexpected(error);
    for (const PageEntry entry : chunk) {
      const uint64_t has = (entry.present() ? kPagePresent : 0) |
                           (entry.swapped() ? kPageSwapped : 0) |
                           (entry.file_or_shared() ? kPageFile : 0);
      if ((has & required) == required && (has & forbidden) == 0) {
        const uint64_t shown = has & (report | required);
        if (count > 0 && regions[count - 1].end == at && regions[count - 1].categories == shown) {
          regions[count - 1].end = at + kPageBytes;
        } else if (count == regions.size()) {
          *walk_end = at;
          return count;
        } else {
          regions[count++] = {at, at + kPageBytes, shown};
        }
      }
      at += kPageBytes;
    }
  }
  *walk_end = range.end();
  return count;
}

Result<Mapping> LinuxKernel::NextMapping(uint64_t address) {
  char name[64];
  abi::MapQuery query{};
  query.size = sizeof query;
  query.flags = abi::kMapQueryOrNext;
  query.address = address;
  query.name = AddressOf(&name[0]);
  query.name_bytes = sizeof name;
  int64_t result =
      RawSyscallRetry(__NR_ioctl, Arg(descriptors_.maps), abi::kMapQuery, AddressOf(&query));
  bool named = result == 0 && query.name_bytes > 0;
  if (ErrnoOf(result) == static_cast<Errno>(36)) {  // ENAMETOOLONG: a file, then
    query.name_bytes = 0, query.name = 0, named = false;
    result = RawSyscallRetry(__NR_ioctl, Arg(descriptors_.maps), abi::kMapQuery, AddressOf(&query));
  }
  if (ErrnoOf(result) == Errno::kNotTty)
    return NextMappingInText(descriptors_.maps, address);  // before Linux 6.11
  if (result < 0) return std::unexpected(ErrnoOf(result));
  Mapping mapping;
  mapping.range = {query.start, query.end - query.start};
  mapping.readable = query.vma_flags & abi::kMapQueryReadable;
  mapping.writable = query.vma_flags & abi::kMapQueryWritable;
  mapping.executable = query.vma_flags & abi::kMapQueryExecutable;
  mapping.shared = query.vma_flags & abi::kMapQueryShared;
  mapping.file = query.inode != 0 || query.device_major != 0 || query.device_minor != 0;
  if (named) NameMapping(name, &mapping);
  return mapping;
}

Errno LinuxKernel::QueryNodes(std::span<const uint64_t> addresses, std::span<int32_t> nodes) {
  return ErrnoOf(RawSyscall(__NR_move_pages, Arg(pid_), addresses.size(),
                            AddressOf(addresses.data()), 0, AddressOf(nodes.data()), 0));
}

Result<int64_t> LinuxKernel::MovePages(std::span<const uint64_t> addresses,
                                       std::span<const int32_t> nodes, std::span<int32_t> status,
                                       Whose whose) {
  constexpr uint64_t kMoveOwn = 1u << 1, kMoveAll = 1u << 2;  // MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
  const int64_t left =
      RawSyscall(__NR_move_pages, Arg(pid_), addresses.size(), AddressOf(addresses.data()),
                 AddressOf(nodes.data()), AddressOf(status.data()),
                 whose == Whose::kAll ? kMoveAll : kMoveOwn);
  if (left < 0) return std::unexpected(ErrnoOf(left));
  return left;
}

Errno LinuxKernel::PreferNode(Range range, Node node) {
  if (node.id < 0)
    return ErrnoOf(RawSyscall(__NR_mbind, range.start, range.length, MPOL_DEFAULT, 0, 0, 0));
  constexpr uint32_t kMaxNodes = 1024;  // CONFIG_NODES_SHIFT goes to 10
  uint64_t mask[kMaxNodes / 64 + 1] = {};
  if (node.id >= static_cast<int32_t>(kMaxNodes)) return Errno::kInvalid;
  mask[node.id / 64] = uint64_t{1} << (node.id % 64);
  return ErrnoOf(RawSyscall(__NR_mbind, range.start, range.length, MPOL_PREFERRED,
                            AddressOf(&mask[0]), kMaxNodes + 1, 0));
}

}  // namespace drover::kernel
