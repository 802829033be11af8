#include "kernel/maps_text.h"

#include <asm/unistd.h>

#include "kernel/raw_syscall.h"

namespace drover::kernel {
namespace {

// Eats digits of `base` at the front of `text`; false: there were none.
bool EatNumber(std::string_view* text, uint64_t base, uint64_t* value) {
  *value = 0;
  size_t used = 0;
  for (; used < text->size(); ++used) {
    const char c = (*text)[used];
    const uint64_t digit = c >= '0' && c <= '9'   ? static_cast<uint64_t>(c - '0')
                           : c >= 'a' && c <= 'f' ? static_cast<uint64_t>(c - 'a') + 10
                                                  : 99;
    if (digit >= base) break;
    *value = *value * base + digit;
  }
  text->remove_prefix(used);
  return used > 0;
}

bool Eat(std::string_view* text, char c) {
  if (text->empty() || text->front() != c) return false;
  text->remove_prefix(1);
  return true;
}

}  // namespace

void NameMapping(std::string_view name, Mapping* mapping) {
  if (name.size() > 0 && name.back() == '\0') name.remove_suffix(1);
  mapping->stack = name.starts_with("[stack");
  mapping->special = name.starts_with("[v");
  mapping->hugetlb = name.starts_with("/anon_hugepage");
  mapping->kernels_own = name.starts_with("/secretmem") || name.starts_with("anon_inode:");
}

bool ParseMapsLine(std::string_view line, Mapping* mapping) {
  uint64_t start, end, offset, major, minor, inode;
  if (!EatNumber(&line, 16, &start) || !Eat(&line, '-') || !EatNumber(&line, 16, &end) ||
      !Eat(&line, ' ') || line.size() < 5)
    return false;
  const std::string_view rights(line.data(), 4);
  line.remove_prefix(4);
  if (!Eat(&line, ' ') || !EatNumber(&line, 16, &offset) || !Eat(&line, ' ') ||
      !EatNumber(&line, 16, &major) || !Eat(&line, ':') || !EatNumber(&line, 16, &minor) ||
      !Eat(&line, ' ') || !EatNumber(&line, 10, &inode))
    return false;
  *mapping = {};
  mapping->range = {start, end - start};
  mapping->readable = rights[0] == 'r';
  mapping->writable = rights[1] == 'w';
  mapping->executable = rights[2] == 'x';
  mapping->shared = rights[3] == 's';
  mapping->file = inode != 0 || major != 0 || minor != 0;
  while (Eat(&line, ' ')) {
  }
  NameMapping(line, mapping);
  return true;
}

Result<Mapping> NextMappingInText(int maps, uint64_t address) {
  char buffer[8192];  // a line is at most a path (4096) and its numbers
  uint64_t offset_bytes = 0;
  uint64_t kept = 0;  // bytes of an unfinished line at the front of the buffer
  for (;;) {
    const int64_t got = RawSyscallRetry(__NR_pread64, Arg(maps), AddressOf(&buffer[0]) + kept,
                                        sizeof buffer - kept, offset_bytes);
    if (got < 0) return std::unexpected(ErrnoOf(got));
    if (got == 0) return std::unexpected(Errno::kNoEntry);
    offset_bytes += static_cast<uint64_t>(got);
    std::string_view text(buffer, kept + static_cast<uint64_t>(got));
    for (size_t newline; (newline = text.find('\n')) != std::string_view::npos;
         text.remove_prefix(newline + 1)) {
      Mapping mapping;
      if (ParseMapsLine({text.data(), newline}, &mapping) && mapping.range.end() > address)
        return mapping;
    }
    kept = text.size();
    for (size_t i = 0; i < kept; ++i) buffer[i] = text[i];
    if (kept == sizeof buffer) return std::unexpected(Errno::kInvalid);
  }
}

}  // namespace drover::kernel
