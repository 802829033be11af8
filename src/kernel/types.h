// The words in which drover speaks with the kernel: plain values, no calls. See kernel.h for the
// calls.
//
// Freestanding: this header is part of the core that also runs inside foreign processes.
#pragma once

#include <cstdint>
#include <expected>

namespace drover {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kHugeBytes = 2u << 20;
inline constexpr uint64_t kPagesPerHuge = kHugeBytes / kPageBytes;

constexpr uint64_t RoundDown(uint64_t value, uint64_t unit) {
  return value / unit * unit;
}
constexpr uint64_t RoundUp(uint64_t value, uint64_t unit) {
  return RoundDown(value + unit - 1, unit);
}

// A piece of an address space, in bytes.
struct Range {
  uint64_t start = 0;
  uint64_t length = 0;

  constexpr uint64_t end() const { return start + length; }
  constexpr bool empty() const { return length == 0; }
  constexpr bool Contains(uint64_t address) const { return address - start < length; }
  constexpr bool Contains(Range other) const {
    return other.start >= start && other.end() <= end();
  }
  constexpr bool Overlaps(Range other) const {  // an empty one overlaps nothing
    return length > 0 && other.length > 0 && start < other.end() && other.start < end();
  }
  constexpr bool operator==(const Range&) const = default;
};

// A NUMA node, by the kernel's number.
struct Node {
  int32_t id = -1;
  constexpr bool operator==(const Node&) const = default;
};

namespace kernel {

// The kernel's error numbers, as values. Nothing beyond src/kernel/linux sees `errno`.
enum class Errno : int32_t {
  kOk = 0,
  kPerm = 1,
  kNoEntry = 2,
  kNoProcess = 3,
  kInterrupted = 4,
  kBadDescriptor = 9,
  kAgain = 11,
  kNoMemory = 12,
  kAccess = 13,
  kFault = 14,
  kBusy = 16,
  kExists = 17,
  kNoDevice = 19,
  kInvalid = 22,
  kTooManyFiles = 24,
  kNotTty = 25,
  kNoSpace = 28,
  kNoSystemCall = 38,
  kTimedOut = 110,
};

template <class T>
using Result = std::expected<T, Errno>;

// What mmap rights a mapping has, and what kind it is.
struct Mapping {
  Range range;
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;   // MAP_SHARED
  bool file = false;     // backed by a file (hugetlb, memfd and secretmem count as files)
  bool stack = false;    // the main thread's stack, which grows by itself
  bool special = false;  // [vdso], [vvar], [vsyscall]
  // Pages that the kernel itself holds, and does not move: memfd_secret, rings of an io_uring and
  // other memory of anonymous inodes.
  bool kernels_own = false;
  // Huge pages set aside by the administrator. Known where the kernel has named the mapping itself;
  // one of a file on a hugetlbfs counts as a file.
  bool hugetlb = false;
};

// Categories of PAGEMAP_SCAN (Linux 6.7; uapi/linux/fs.h).
inline constexpr uint64_t kPageFile = 1u << 2;
inline constexpr uint64_t kPagePresent = 1u << 3;
inline constexpr uint64_t kPageSwapped = 1u << 4;
inline constexpr uint64_t kPageZero = 1u << 5;  // the zero page, small or huge
inline constexpr uint64_t kPageHuge = 1u << 6;  // by a page-middle entry: one whole 2 MiB page

// A run of pages with equal categories.
struct PageRegion {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t categories = 0;
};

// One entry of /proc/PID/pagemap.
struct PageEntry {
  uint64_t raw = 0;

  constexpr bool present() const { return raw >> 63 & 1; }
  constexpr bool swapped() const { return raw >> 62 & 1; }
  // Occupied in the sense of the page-table proof (a page or a swap entry is here).
  constexpr bool holds_page() const { return raw >> 62 != 0; }
  constexpr bool file_or_shared() const { return raw >> 61 & 1; }
  constexpr bool guard() const { return raw >> 58 & 1; }      // Linux 6.15; zero before
  constexpr bool exclusive() const { return raw >> 56 & 1; }  // mapped once
  // The page frame number; 0 without CAP_SYS_ADMIN.
  constexpr uint64_t frame() const { return raw & ((uint64_t{1} << 55) - 1); }
};

// Which pages move_pages(2) moves: those that no other process maps, or all (which takes
// CAP_SYS_NICE).
enum class Whose : uint8_t { kOnlyOwn, kAll };

// Features of a userfaultfd descriptor (uapi/linux/userfaultfd.h).
inline constexpr uint64_t kFeatureEventFork = 1u << 1;  // CAP_SYS_PTRACE in who makes UFFDIO_API
inline constexpr uint64_t kFeatureEventRemap = 1u << 2;
inline constexpr uint64_t kFeatureEventRemove = 1u << 3;
inline constexpr uint64_t kFeatureEventUnmap = 1u << 6;
inline constexpr uint64_t kFeatureThreadId = 1u << 8;
inline constexpr uint64_t kFeatureMove = 1u << 16;  // Linux 6.8
inline constexpr uint64_t kFeaturesWanted = kFeatureEventFork | kFeatureEventRemap |
                                            kFeatureEventRemove | kFeatureEventUnmap |
                                            kFeatureThreadId | kFeatureMove;

// Sockets by which the kernel reaches user pages in ways of their own.
enum class SocketKind : uint8_t {
  kOrdinary,
  kKernelTls,  // TCP with the upper-layer protocol "tls"
  kXdp,        // AF_XDP
};

// How a mapping may be marked; only /proc/PID/smaps tells.
enum class Marked : uint8_t {
  kDontFork,    // a child does not inherit it
  kWipeOnFork,  // a child inherits it empty
  kLocked,      // UFFDIO_MOVE to memory that is not locked refuses
  kKeyed,       // with a protection key of its own: the same
  kWantsHuge,   // MADV_HUGEPAGE
};

enum class RegisterMode : uint64_t { kMissing = 1, kWriteProtect = 2 };

// The answer of UFFDIO_MOVE. It is a claim, not a proof: from Linux 6.18 on the call sometimes
// moves pages and denies it. `bytes` is what the kernel claims to have moved; only
// `error == kOk` means that all of it did move.
struct MoveAnswer {
  Errno error = Errno::kOk;
  uint64_t bytes = 0;
};

// A message read from the userfaultfd descriptor.
struct Message {
  enum class Kind : uint8_t {
    kFault = 0x12,
    kFork = 0x13,
    kRemap = 0x14,
    kRemove = 0x15,
    kUnmap = 0x16
  };
  Kind kind = Kind::kFault;
  uint64_t address = 0;  // fault: the page; remap: from; remove and unmap: start
  uint64_t target = 0;   // remap: to
  uint64_t length = 0;   // remap, remove, unmap: bytes
  int32_t child = -1;    // fork: the child's descriptor, which the reader owns
  int32_t thread = 0;    // fault: the waiting thread
};

enum class Advice : int32_t {
  kDontNeed = 4,
  kDontFork = 10,
  kDoFork = 11,
  kHugePage = 14,
  kNoHugePage = 15,
  kWipeOnFork = 18,
  kPopulateWrite = 23,
  kCollapse = 25,  // Kernel::Collapse says what
};

}  // namespace kernel
}  // namespace drover
