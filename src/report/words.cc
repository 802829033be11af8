#include "report/words.h"

#include <asm/unistd.h>
#include <fmt/format.h>

#include <cstring>
#include <iterator>

namespace drover::report {

using flow::StandBackFrom;
using flow::Trouble;
using flow::Why;

Words WordsOf(Why why) {
  switch (why) {
    case Why::kBusy:
      return {"pinned or in use by the kernel (direct I/O, io_uring buffers, a device)", true,
              "try `--mode sync --retry-for`; a page that stays pinned moves only after its buffer "
              "is unregistered"};
    case Why::kShared:
      return {"shared with another process after a fork", true,
              "try again after the child has ended; `--unshare` moves a copy of its own, with two "
              "nodes `--shared`, as root, moves it for both"};
    case Why::kMerged:
      return {
          "merged with equal pages by the kernel (KSM)", true,
          "it is its own again when it is written; `echo 2 > /sys/kernel/mm/ksm/run` unmerges all"};
    case Why::kRights:
      return {"the mapping is not plain read-write", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kLocked:
      return {"the mapping is locked (mlock)", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kProtectionKey:
      return {"the mapping has a protection key", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kFile:
      return {"page of a file or of shared memory", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kHugetlb:
      return {"huge page of hugetlb", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kStack:
      return {"stack of the main thread", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kControlBlock:
      return {"control block of a thread", false,
              "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kSwapped:
      return {"swapped out while the move was under way", true,
              "it comes back on the node where it is next touched"};
    case Why::kDiscarding:
      return {"the program has thrown it away, and the kernel has not freed it yet", true,
              "try again later"};
    case Why::kPartOfHuge:
      return {"the range cuts a huge page", false, "align the range to 2 MiB"};
    case Why::kNoTargetMemory:
      return {"no memory on the target node within the limits", true,
              "free memory there, raise the memory limit of the control group, or name more nodes"};
    case Why::kNoTargetHuge:
      return {"no huge page to be had on the target node", true,
              "free memory there or compact it (/proc/sys/vm/compact_memory)"};
    case Why::kHugeDisabled:
      return {
          "huge page of a program that has switched huge pages off (prctl), so that none can "
          "take its place",
          false, "with two nodes the kernel path moves it; `--to same` cannot"};
    case Why::kForeignUserfault:
      return {"watched by a userfaultfd of the program's own", false, "it cannot be watched twice"};
    case Why::kMappingChanged:
      return {"the mapping changed while its pages were on their way", true, "try again"};
    case Why::kUnstable:
      return {"kept changing under the move", true, "try again"};
    case Why::kNotTried:
      return {"not tried, because its neighbours refused", true, "try again"};
    case Why::kOwnPathRefused:
      return {"this process cannot take drover's own path, and there is no other", false,
              "see `drover doctor`"};
    case Why::kSeveralProcesses:
      return {"mapped by several processes, or several times", false,
              "with two nodes `--shared`, as root, moves it for all of them"};
    case Why::kNotMovable:
      return {"the kernel does not move this kind of page", false, "none"};
    case Why::kOverBudget:
      return {
          "its window would be longer than --max-stall allows", false,
          "allow more (stall_budget says how much), more copy threads (--migrator threads:N), or "
          "--over-budget"};
    case Why::kTimeIsUp:
      return {"the job's time was over before its turn came", true,
              "move it again, or give it more time (--for)"};
    case Why::kKernelRefused:
      return {"refused by the kernel's move_pages", true, "try again"};
    case Why::kNone:
    case Why::kCount:
      break;
  }
  return {"unknown", false, "none"};
}

StandBackWords WordsOf(StandBackFrom from) {
  switch (from) {
    case StandBackFrom::kTracer:
      return {"a debugger or tracer is attached", "detach it"};
    case StandBackFrom::kFuse:
      return {"it serves a FUSE file system (/dev/fuse is open)", "unmount the file system"};
    case StandBackFrom::kKernelTls:
      return {"it has a socket with kernel TLS", "turn kernel TLS off in its configuration"};
    case StandBackFrom::kDirectIo:
      return {"a file on NFS, Ceph or 9p is open with O_DIRECT",
              "turn direct I/O off in its configuration, or use a local file system"};
    case StandBackFrom::kKvm:
      return {"it runs virtual machines (/dev/kvm is open)", "end them"};
    case StandBackFrom::kDevices:
      return {
          "a device is open that reaches user memory by ways of its own (VFIO, iommufd, KFD, "
          "nvidia-uvm, InfiniBand, DSA or vhost)",
          "close the device"};
    case StandBackFrom::kOwnUserfault:
      return {"it has a userfaultfd of its own", "close it"};
    case StandBackFrom::kXdp:
      return {"it has an AF_XDP socket", "close it"};
    case StandBackFrom::kPiFutex:
      return {"it uses priority-inheritance mutexes",
              "none while it runs: such a mutex may lie anywhere in its memory"};
    case StandBackFrom::kRobustMutex:
      return {"it uses robust mutexes",
              "none while it runs: such a mutex may lie anywhere in its memory"};
    case StandBackFrom::kRawThreads:
      return {"it has threads that libc did not make", "none while they run"};
    case StandBackFrom::kCount:
      break;
  }
  return {"unknown", "none"};
}

std::string SystemCallName(uint32_t number) {
  struct Row {
    uint32_t number;
    const char* name;
  };
  static constexpr Row kRows[] = {
      {__NR_userfaultfd, "userfaultfd"},
      {__NR_ioctl, "ioctl"},
      {__NR_mmap, "mmap"},
      {__NR_munmap, "munmap"},
      {__NR_madvise, "madvise"},
      {__NR_mprotect, "mprotect"},
      {__NR_munlock, "munlock"},
      {__NR_move_pages, "move_pages"},
      {__NR_mbind, "mbind"},
      {__NR_clone, "clone"},
      {__NR_close_range, "close_range"},
      {__NR_get_robust_list, "get_robust_list"},
      {__NR_socket, "socket"},
      {__NR_openat, "openat"},
      {__NR_pread64, "pread64"},
      {__NR_getdents64, "getdents64"},
      {__NR_futex, "futex"},
      {__NR_poll, "poll"},
      {__NR_eventfd2, "eventfd2"},
      {__NR_sched_setaffinity, "sched_setaffinity"},
      {__NR_sched_setscheduler, "sched_setscheduler"},
      {__NR_getcpu, "getcpu"},
      {__NR_getrusage, "getrusage"},
      {__NR_readlink, "readlink"},
      {__NR_signalfd4, "signalfd4"},
      {__NR_bind, "bind"},
      {__NR_listen, "listen"},
      {__NR_accept4, "accept4"},
      {__NR_sendmsg, "sendmsg"},
      {__NR_recvmsg, "recvmsg"},
      {__NR_sched_getaffinity, "sched_getaffinity"},
      {__NR_rt_sigprocmask, "rt_sigprocmask"},
      {__NR_memfd_create, "memfd_create"},
      {__NR_dup2, "dup2"},
      {__NR_getsockopt, "getsockopt"},
      {__NR_unlink, "unlink"},
      {__NR_mkdir, "mkdir"},
  };
  for (const Row& row : kRows)
    if (row.number == number) return row.name;
  return fmt::format("system call {}", number);
}

const char* WordsOf(flow::SelfTestStep step) {
  using Step = flow::SelfTestStep;
  switch (step) {
    case Step::kMemory:
      return "no memory for it";
    case Step::kRegister:
      return "registering";
    case Step::kOut:
      return "moving out";
    case Step::kIn:
      return "moving in";
    case Step::kUndo:
      return "moving back";
    case Step::kOccupied:
      return "an occupied target";
    case Step::kEmpty:
      return "an empty source";
    case Step::kHugeWhole:
      return "a huge page as a whole";
    case Step::kUnregister:
      return "ending the registration";
    case Step::kNone:
    case Step::kCount:
      break;
  }
  return "unknown step";
}

std::string WordsOf(Trouble trouble, uint32_t detail) {
  switch (trouble) {
    case Trouble::kNone:
      return "";
    case Trouble::kCancelled:
      return "interrupted";
    case Trouble::kNoRights:
      return "no right to userfaultfd with kernel-mode faults and fork events; run `drover move` "
             "as "
             "root, or give the program CAP_SYS_PTRACE";
    case Trouble::kKernelVersion:
      return "UFFDIO_MOVE of this kernel is not safe; use Linux 6.12.43 or newer (not 6.13 to "
             "6.15)";
    case Trouble::kSelfTest:
      return fmt::format(
          "UFFDIO_MOVE failed drover's self-test on this kernel ({}); use Linux "
          "6.12.43 or newer of 6.12, or 6.18",
          WordsOf(static_cast<flow::SelfTestStep>(detail)));
    case Trouble::kSeccomp:
      return fmt::format(
          "a system-call filter (seccomp) of the program forbids {}; allow it in the filter "
          "(systemd: SystemCallFilter={})",
          SystemCallName(detail), SystemCallName(detail));
    case Trouble::kStandsBack: {
      std::string seen;
      for (uint32_t i = 0; i < static_cast<uint32_t>(StandBackFrom::kCount); ++i) {
        const auto from = static_cast<StandBackFrom>(i);
        if ((detail & flow::SetOf(from)) == 0) continue;
        seen += fmt::format("{}{}", seen.empty() ? "" : "; ", WordsOf(from).seen);
      }
      return fmt::format("the own path stands back: {}", seen);
    }
    case Trouble::kGateStuck:
      return "a thread of the program stayed in mremap, pthread_create or setuid for 10 s; try "
             "again";
    case Trouble::kMappings:
      return "fewer than 1000 mappings are left; raise vm.max_map_count";
    case Trouble::kDiscards:
      return "too many pages that the program threw away are still there; restart the program";
    case Trouble::kNoMemory:
      return "no memory for the engine's own areas";
    case Trouble::kNoThreads:
      return "no thread to be had for the engine; raise the limit";
    case Trouble::kThreadsHidden:
      return "the program's threads could not be listed";
    case Trouble::kProcess:
      return fmt::format("the process could not be read: {}",
                         std::strerror(static_cast<int>(detail)));
    case Trouble::kNoAgent:
      return "the process has no agent; start it by `drover run -- PROGRAM`";
    case Trouble::kNoSocket:
      return "the agent found no writable folder for its socket; set DROVER_DIR";
    case Trouble::kNoSuchEngine:
      return "a copy engine that the move names is not loaded there (any more)";
    case Trouble::kBadJob:
      return "the agent does not understand the request; are both of the same version?";
    case Trouble::kDescriptors:
      return "fewer than 16 descriptors are left below the program's limit; raise it (prlimit "
             "--nofile)";
    case Trouble::kDontForkRanges:
      return "the program has no right to fork events, and more than 256 ranges that children do "
             "not inherit (or /proc/self/smaps cannot be read); start it with CAP_SYS_PTRACE, or "
             "let root move it first";
    case Trouble::kAgentEnded:
      return "the agent was taken out of work (drover off, or a sandbox)";
    case Trouble::kTargetVanished:
      return "the process ended";
  }
  return "unknown";
}

namespace {
constexpr const char* kCopyThrough[] = {"auto", "program", "kernel", "fill", "kernel-fill"};
}  // namespace

const char* WordsOf(flow::CopyThrough way) {
  return kCopyThrough[static_cast<uint32_t>(way)];
}

std::vector<std::string> CopyThroughNames() {
  return {std::begin(kCopyThrough), std::end(kCopyThrough)};
}

flow::CopyThrough CopyThroughOf(const std::string& words) {
  for (uint32_t i = 0; i < std::size(kCopyThrough); ++i)
    if (words == kCopyThrough[i]) return static_cast<flow::CopyThrough>(i);
  return flow::CopyThrough::kAuto;
}

}  // namespace drover::report
