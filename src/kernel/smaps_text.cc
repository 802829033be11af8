// The real kernel: how mappings are marked. Only smaps tells, in text.
#include <asm/unistd.h>

#include <string_view>

#include "kernel/linux_kernel.h"
#include "kernel/maps_text.h"
#include "kernel/raw_syscall.h"

namespace drover::kernel {
namespace {

constexpr std::string_view kFlags = "VmFlags:";

// "VmFlags: rd wr mr mw me dc ac"
bool HasFlag(std::string_view line, std::string_view flag) {
  for (size_t at = kFlags.size(); at + flag.size() < line.size(); ++at)
    if (line[at] == ' ' && std::string_view(line.data() + at + 1, flag.size()) == flag) return true;
  return false;
}

// "ProtectionKey:         0", where the processor has keys.
bool HasKey(std::string_view line) {
  constexpr std::string_view kKey = "ProtectionKey:";
  if (!line.starts_with(kKey)) return false;
  for (size_t at = kKey.size(); at < line.size(); ++at)
    if (line[at] >= '1' && line[at] <= '9') return true;
  return false;
}

std::string_view FlagOf(Marked how) {
  switch (how) {
    case Marked::kDontFork:
      return "dc";
    case Marked::kWipeOnFork:
      return "wf";
    case Marked::kLocked:
      return "lo";
    case Marked::kWantsHuge:
      return "hg";
    case Marked::kKeyed:
      break;  // is no flag
  }
  return "";
}

}  // namespace

Result<uint64_t> LinuxKernel::ListMarked(Marked how, std::span<Range> ranges) {
  const auto file = OpenSmaps();
  if (!file.has_value()) return std::unexpected(file.error());
  const auto count = ListMarkedInText(*file, how, ranges);
  RawSyscall(__NR_close, Arg(*file));
  return count;
}

Result<uint64_t> ListMarkedInText(int smaps, Marked how, std::span<Range> ranges) {
  char buffer[8192];  // a line is at most a path (4096) and its numbers
  uint64_t kept = 0, count = 0;
  Mapping mapping;
  bool key = false;
  int64_t got;
  while ((got = RawSyscallRetry(__NR_read, Arg(smaps), AddressOf(&buffer[0]) + kept,
                                sizeof buffer - kept)) > 0) {
    std::string_view text(buffer, kept + static_cast<uint64_t>(got));
    for (size_t newline; (newline = text.find('\n')) != std::string_view::npos;
         text.remove_prefix(newline + 1)) {
      const std::string_view line(text.data(), newline);
      if (!line.starts_with(kFlags)) {  // they stand last
        Mapping next;
        if (ParseMapsLine(line, &next)) mapping = next, key = false;
        key = key || HasKey(line);
      } else if (how == Marked::kKeyed ? key : HasFlag(line, FlagOf(how))) {
        if (count < ranges.size()) ranges[count] = mapping.range;
        ++count;
      }
    }
    kept = text.size();
    for (size_t i = 0; i < kept; ++i) buffer[i] = text[i];
    if (kept == sizeof buffer) got = -static_cast<int64_t>(Errno::kInvalid);
    if (got < 0) break;
  }
  if (got < 0) return std::unexpected(ErrnoOf(got));
  return count;
}

}  // namespace drover::kernel
