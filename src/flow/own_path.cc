#include "flow/own_path.h"

#include "flow/text.h"

namespace drover::flow {
namespace {

constexpr KernelRow kTable[] = {
    {{0, 0, 0}, Trust::kRefused, "no UFFDIO_MOVE before 6.8"},
    {{6, 8, 0},
     Trust::kRefused,
     "fixes to UFFDIO_MOVE up to 6.12.43 (crash on a migration entry, lost dirty bits, a race with "
     "the swap cache) are missing; stable changelogs of 6.12.19 to 6.12.43"},
    {{6, 12, 43}, Trust::kTested, "6.12.43 and newer of the series has them; tested on 6.12"},
    {{6, 13, 0}, Trust::kRefused, "6.13 to 6.15 ended without all of those fixes"},
    {{6, 16, 0}, Trust::kSelfTest, "has the fixes, but was not tested"},
    {{6, 18, 0}, Trust::kTested, "tested on 6.18"},
    {{6, 19, 0}, Trust::kSelfTest, "newer than the newest tested"},
};

}  // namespace

std::span<const KernelRow> KernelTable() {
  return kTable;
}

const KernelRow& RowOf(KernelVersion version) {
  const KernelRow* row = &kTable[0];
  for (const KernelRow& candidate : kTable)
    if (candidate.from <= version) row = &candidate;
  return *row;
}

KernelVersion ParseVersion(std::string_view release) {
  uint64_t numbers[3] = {};
  for (uint64_t& number : numbers) {
    if (!EatNumber(&release, &number)) break;
    if (release.empty() || release.front() != '.') break;
    release.remove_prefix(1);
  }
  return {static_cast<uint32_t>(numbers[0]), static_cast<uint32_t>(numbers[1]),
          static_cast<uint32_t>(numbers[2])};
}

KernelVersion ReadVersion(kernel::Kernel& kernel) {
  KernelVersion best;
  char text[512];
  if (const auto got = kernel.ReadFile("/proc/sys/kernel/osrelease", text); got.has_value())
    best = ParseVersion({text, *got});
  if (const auto got = kernel.ReadFile("/proc/version", text); got.has_value()) {
    constexpr std::string_view kDebian = "Debian ";
    for (std::string_view rest(text, *got); !rest.empty(); rest.remove_prefix(1)) {
      if (!rest.starts_with(kDebian)) continue;
      std::string_view number = rest;
      number.remove_prefix(kDebian.size());
      const KernelVersion debian = ParseVersion(number);
      const bool same_series = debian.major == best.major && debian.minor == best.minor;
      if (same_series && debian > best) best = debian;
    }
  }
  return best;
}

Trouble CheckKernel(kernel::Kernel& kernel, bool* self_test) {
  const KernelRow& row = RowOf(ReadVersion(kernel));
  *self_test = row.trust == Trust::kSelfTest;
  return row.trust == Trust::kRefused ? Trouble::kKernelVersion : Trouble::kNone;
}

}  // namespace drover::flow
