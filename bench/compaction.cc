#include "compaction.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "kernel/types.h"
#include "measure.h"

namespace drover::bench {
namespace {

constexpr uint64_t kLeastPages = (uint64_t{32} << 20) / kPageBytes;

}  // namespace

std::expected<Offlined, Error> CompactOnce(const Buffers& memory, const MigrateTrace& trace) {
  for (size_t at = 0; at < memory.source_bytes; at += 2 * kPageBytes)
    madvise(memory.source + at, kPageBytes, MADV_DONTNEED);
  if (!trace.Begin()) return std::unexpected(Error{Error::Kind::kFailed, "no trace to be had"});
  Offlined done;
  const uint64_t before = PagesMigrated();
  const double begin = Now();
  const bool compacted = WriteText("/proc/sys/vm/compact_memory", "1");
  const int error = errno;
  done.wall_s = Now() - begin;
  done.pages = PagesMigrated() - before;
  done.inside_s = trace.EndSeconds();
  std::memset(memory.source, 1, memory.source_bytes);
  if (!compacted)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("/proc/sys/vm/compact_memory: {}", std::strerror(error))});
  if (done.pages < kLeastPages || done.inside_s <= 0)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("the kernel moved {} pages, too few for a figure", done.pages)});
  return done;
}

}  // namespace drover::bench
