#include "offline.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "kernel/types.h"
#include "measure.h"

namespace drover::bench {
namespace {

constexpr const char* kMemory = "/sys/devices/system/memory";
constexpr double kNearlyAll = 0.97;
constexpr int kBlocksTried = 5;

std::string StateOf(uint64_t block) {
  return fmt::format("{}/memory{}/state", kMemory, block);
}

// Errors: errno of the write.
std::expected<Offlined, int> TakeOffline(uint64_t block, Restorer& restorer,
                                         const MigrateTrace& trace) {
  const std::string state = StateOf(block);
  if (!restorer.Promise(state, "online") || !trace.Begin()) return std::unexpected(EIO);
  Offlined done{.block = block};
  const uint64_t before = PagesMigrated();
  const double begin = Now();
  const bool offline = WriteText(state, "offline");
  const int error = errno;
  done.wall_s = Now() - begin;
  done.pages = PagesMigrated() - before;
  done.inside_s = trace.EndSeconds();
  // (What is not online again the restorer goes on trying with.)
  if (!offline || WriteText(state, "online")) restorer.Release(state);
  if (!offline) return std::unexpected(error);
  return done;
}

}  // namespace

uint64_t PagesMigrated() {
  std::ifstream vmstat("/proc/vmstat");
  std::string name;
  for (uint64_t value; vmstat >> name >> value;)
    if (name == "pgmigrate_success") return value;
  return 0;
}

size_t MemoryBlockBytes() {
  std::ifstream file(std::string(kMemory) + "/block_size_bytes");
  size_t bytes = 0;
  file >> std::hex >> bytes;
  return bytes;
}

std::map<uint64_t, uint64_t> PagesByBlock(const Buffers& memory, size_t block_bytes) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kFrame = (uint64_t{1} << 55) - 1;
  std::map<uint64_t, uint64_t> pages;
  const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::vector<uint64_t> entries(1 << 16);
  for (size_t at = 0; pagemap >= 0 && at < memory.source_bytes;) {
    const uint64_t first = (reinterpret_cast<uint64_t>(memory.source) + at) / kPageBytes;
    const size_t wanted =
        std::min(entries.size(), (memory.source_bytes - at) / kPageBytes) * sizeof entries[0];
    const ssize_t got =
        pread(pagemap, entries.data(), wanted, static_cast<off_t>(first * sizeof entries[0]));
    if (got <= 0) break;
    const size_t count = static_cast<size_t>(got) / sizeof entries[0];
    for (size_t i = 0; i < count; ++i)
      if ((entries[i] & kPresent) != 0 && (entries[i] & kFrame) != 0)
        ++pages[(entries[i] & kFrame) * kPageBytes / block_bytes];
    at += count * kPageBytes;
  }
  if (pagemap >= 0) close(pagemap);
  return pages;
}

std::expected<Offlined, Error> OfflineOne(const Buffers& memory, Restorer& restorer,
                                          const MigrateTrace& trace) {
  const size_t block_bytes = MemoryBlockBytes();
  if (block_bytes == 0)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, "this kernel cannot take memory blocks offline"});
  const auto by_block = PagesByBlock(memory, block_bytes);
  if (by_block.empty()) return std::unexpected(Error{Error::Kind::kNotPermitted, "needs root"});
  std::vector<std::pair<uint64_t, uint64_t>> most;  // pages, block
  for (const auto& [block, pages] : by_block) most.emplace_back(pages, block);
  std::sort(most.rbegin(), most.rend());
  int error = 0;
  for (size_t i = 0; i < most.size() && i < kBlocksTried; ++i) {
    const auto [pages, block] = most[i];
    if (static_cast<double>(pages * kPageBytes) < kNearlyAll * static_cast<double>(block_bytes))
      break;
    const auto done = TakeOffline(block, restorer, trace);
    if (!done.has_value()) {
      error = done.error();
      continue;
    }
    // What was claimed is what has moved.
    if (done->pages >= pages && done->inside_s > 0) return *done;
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("the kernel counted {} migrated pages of {}", done->pages, pages)});
  }
  return std::unexpected(
      Error{Error::Kind::kUnavailable,
            error != 0 ? fmt::format("no memory block can be taken offline: {}", strerror(error))
                       : std::string("no memory block is this process's alone; a larger --total "
                                     "would help")});
}

}  // namespace drover::bench
