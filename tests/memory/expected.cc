#include "memory/expected.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "live/zero_pages.h"

namespace drover::memory {
namespace {

using enum flow::Why;

constexpr Fate kOwn{Fate::Path::kOwn}, kKernel{Fate::Path::kKernel}, kNothing{Fate::Path::kNothing};
constexpr Fate Stays(flow::Why why) {
  return {Fate::Path::kStays, why};
}

constexpr flow::StandBackSet From(flow::StandBackFrom from) {
  return flow::SetOf(from);
}

constexpr Row kRows[] = {
    {"anonymous-4k", kOwn, kOwn},
    {"anonymous-2m", kOwn, kOwn},
    {"anonymous-partly-2m", kOwn, kOwn},
    {"anonymous-16k", kOwn, kOwn, Needs::kFolios},
    {"anonymous-64k", kOwn, kOwn, Needs::kFolios},
    {"anonymous-1m", kOwn, kOwn, Needs::kFolios},
    {"heap", kOwn, kOwn},
    {"main-stack", Stays(kStack), kKernel},
    {"thread-stack", kOwn, kOwn},
    {"control-block", Stays(kControlBlock), kKernel},
    {"library-data", Stays(kFile), kKernel},
    {"dontfork", kOwn, kOwn},
    {"wipeonfork", kOwn, kOwn},
    {"dontdump", kOwn, kOwn},
    {"cold", kOwn, kOwn},
    {"freed", kOwn, kOwn},
    {"guards", kOwn, kOwn, Needs::kGuardInstall},
    {"zero-page", kNothing, kNothing, Needs::kZeroPages},
    {"huge-zero-page", kNothing, kNothing, Needs::kZeroPages},
    {"never-touched", kNothing, kNothing},
    {"read-only", Stays(kRights), kKernel},
    {"no-rights", Stays(kRights), kKernel},
    {"executable", Stays(kRights), kKernel},
    {"guard-of-no-rights", kOwn, kOwn},
    {"own-key", Stays(kProtectionKey), kKernel, Needs::kProtectionKeys},
    {"mlock", Stays(kLocked), kKernel},
    {"mlock-onfault", Stays(kLocked), kKernel},
    {"map-locked", Stays(kLocked), kKernel},
    {"mlockall-current", Stays(kLocked), kKernel},
    {"mlockall-future", Stays(kLocked), kKernel},
    {"file-clean", Stays(kFile), kKernel},
    {"file-written", Stays(kFile), kKernel},
    {"file-shared", Stays(kFile), kKernel},
    {"tmpfs", Stays(kFile), kKernel},
    {"memfd", Stays(kFile), kKernel},
    {"shared-anonymous", Stays(kFile), kKernel},
    {"mapped-twice", Stays(kFile), Stays(kSeveralProcesses)},
    {"two-processes", Stays(kFile), Stays(kSeveralProcesses)},
    {"hugetlb", Stays(kHugetlb), kKernel, Needs::kHugetlbPages},
    {"secret", Stays(kNotMovable), Stays(kNotMovable)},
    {"io-uring-rings", Stays(kNotMovable), Stays(kNotMovable)},
    {"own-userfaultfd", Stays(kOwnPathRefused), kKernel, Needs::kAnyMachine,
     From(flow::StandBackFrom::kOwnUserfault)},
    {"child-alive", Stays(kShared), Stays(kShared)},
    {"child-alive-2m", Stays(kShared), Stays(kShared)},
    {"child-dead", kOwn, kOwn},
    {"fixed-buffer", Stays(kBusy), Stays(kBusy)},
    {"vmsplice", kOwn, kOwn},
    {"zerocopy", kOwn, kOwn},
    {"kernel-tls", Stays(kOwnPathRefused), kKernel, Needs::kKernelTls,
     From(flow::StandBackFrom::kKernelTls)},
    {"nfs-direct", Stays(kOwnPathRefused), kKernel, Needs::kNfs,
     From(flow::StandBackFrom::kDirectIo)},
    {"direct-read", Stays(kBusy), Stays(kBusy)},
    {"fuse-read", Stays(kBusy), Stays(kBusy)},
    {"merged", Stays(kMerged), Stays(kMerged)},
    {"swapped", kNothing, kNothing, Needs::kZram},
};

std::string Line(const char* path, int number = 1) {
  std::ifstream file(path);
  std::string line;
  for (int i = 0; i < number; ++i)
    if (!std::getline(file, line)) return "";
  return line;
}

}  // namespace

std::span<const Row> ExpectedRows() {
  return kRows;
}

Fate SharedFateOf(const Row& row) {
  const flow::Why why = row.other.why;
  return why == kShared || why == kMerged || why == kSeveralProcesses ? kKernel : row.other;
}

bool UnshareHelps(const Row& row) {
  return row.same.why == kShared || row.same.why == kMerged;
}

bool MachineHas(const Row& row) {
  switch (row.needs) {
    case Needs::kAnyMachine:
      return true;
    case Needs::kGuardInstall: {
      utsname name;
      int major = 0, minor = 0;
      if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return true;
      return major > 6 || (major == 6 && minor >= 13);
    }
    case Needs::kProtectionKeys: {
      std::ifstream file("/proc/cpuinfo");
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      return text.find(" ospke") != std::string::npos;
    }
    case Needs::kFolios: {
      const std::string kind = row.kind;
      const std::string size = kind.ends_with("1m") ? "1024" : kind.substr(kind.size() - 3, 2);
      const auto path = "/sys/kernel/mm/transparent_hugepage/hugepages-" + size + "kB/enabled";
      const std::string line = Line(path.c_str());
      return line.find("[never]") == std::string::npos && !line.empty();
    }
    case Needs::kHugetlbPages:
      return Line("/proc/sys/vm/nr_hugepages") != "0";
    case Needs::kZeroPages:
      return live::HasZeroPages();
    case Needs::kZram:
      return access("/sys/class/zram-control/hot_add", F_OK) == 0;
    case Needs::kKernelTls:
      return (" " + Line("/proc/sys/net/ipv4/tcp_available_ulp") + " ").find(" tls ") !=
             std::string::npos;
    case Needs::kNfs: {
      std::ifstream file("/proc/mounts");
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      return text.find(" nfs") != std::string::npos;
    }
  }
  return true;
}

}  // namespace drover::memory
