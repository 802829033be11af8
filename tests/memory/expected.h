// What becomes of each kind of memory: the table that docs/memory.md shows.
#pragma once

#include <span>

#include "flow/job.h"

namespace drover::memory {

struct Fate {
  enum class Path {
    kOwn,
    kKernel,
    kStays,   // for `why`
    kNothing  // no page is asked for
  };
  Path path;
  flow::Why why = flow::Why::kNone;
};

// A kernel, a processor or a setting of the machine that a kind needs.
enum class Needs {
  kAnyMachine,
  kGuardInstall,    // Linux 6.13
  kProtectionKeys,  // of the processor
  kFolios,          // of that size, switched on in /sys/kernel/mm/transparent_hugepage
  kHugetlbPages,    // vm.nr_hugepages
  kZeroPages,       // of the kernel
  kZram,
  kKernelTls,
  kNfs,  // mounted somewhere
};

struct Row {
  const char* kind;
  Fate same;   // --to same
  Fate other;  // to another node
  Needs needs = Needs::kAnyMachine;
  flow::StandBackSet stands_back_from = 0;  // the whole process, for this
};

std::span<const Row> ExpectedRows();
// To another node, with --shared: what only others hold back moves, too.
Fate SharedFateOf(const Row& row);
// Fresh pages where it is, with --unshare: does that move what else stays?
bool UnshareHelps(const Row& row);
bool MachineHas(const Row& row);

}  // namespace drover::memory
