// On which kernels the own path may be taken. One table, with the origin of each row.
#pragma once

#include "flow/job.h"
#include "kernel/kernel.h"

namespace drover::flow {

struct KernelVersion {
  uint32_t major = 0, minor = 0, patch = 0;
  constexpr auto operator<=>(const KernelVersion&) const = default;
};

enum class Trust : uint8_t { kRefused, kTested, kSelfTest };

struct KernelRow {
  KernelVersion from;  // up to the next row
  Trust trust;
  const char* origin;
};

// In rising order; the first row begins at 0.0.0.
std::span<const KernelRow> KernelTable();
const KernelRow& RowOf(KernelVersion version);

// From the text of /proc/sys/kernel/osrelease ("6.12.48-cloud-amd64"); 0.0.0: not understood.
KernelVersion ParseVersion(std::string_view release);
// Debian's kernels put the upstream version into /proc/version ("Debian 6.12.48-1"), and another
// one, without the patch number, into osrelease; the larger of the two is what it is.
KernelVersion ReadVersion(kernel::Kernel& kernel);

// kNone: the own path may be taken, after a self-test at the first request where `*self_test` is
// set. kKernelVersion: refused.
Trouble CheckKernel(kernel::Kernel& kernel, bool* self_test);

}  // namespace drover::flow
