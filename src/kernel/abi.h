// Kernel ABI that Debian 12's headers (Linux 6.1) lack. Values from uapi/linux of Linux 6.18.
#pragma once

#include <asm/unistd.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>

#include <cstdint>

namespace drover::kernel::abi {

struct UserfaultMove {  // Linux 6.8
  uint64_t target, source, length, mode;
  int64_t moved;
};
static_assert(sizeof(UserfaultMove) == 40);
inline constexpr unsigned long kUserfaultMove = _IOWR(UFFDIO, 0x05, UserfaultMove);

struct PagemapScan {  // Linux 6.7
  uint64_t size, flags, start, end, walk_end, regions, regions_room, pages_max;
  uint64_t inverted, required, any_of, report;
};
static_assert(sizeof(PagemapScan) == 96);
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);

struct MapQuery {  // PROCMAP_QUERY, Linux 6.11
  uint64_t size, flags, address;
  uint64_t start, end, vma_flags, page_bytes, offset, inode;
  uint32_t device_major, device_minor, name_bytes, build_id_bytes;
  uint64_t name, build_id;
};
static_assert(sizeof(MapQuery) == 104);
inline constexpr unsigned long kMapQuery = _IOWR('f', 17, MapQuery);
inline constexpr uint64_t kMapQueryReadable = 1, kMapQueryWritable = 2, kMapQueryExecutable = 4,
                          kMapQueryShared = 8, kMapQueryOrNext = 16;

inline constexpr unsigned long kUserfaultDeviceNew = _IO(UFFDIO, 0x00);  // /dev/userfaultfd, 6.1
inline constexpr unsigned kCloseRangeUnshare = 2;

}  // namespace drover::kernel::abi
