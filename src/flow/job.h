// What the flow is asked and what it answers: plain data, which also travels between the command
// line and an agent.
#pragma once

#include <cstdint>
#include <span>

#include "flow/limits.h"
#include "kernel/types.h"
#include "migrators/copy_function.h"
#include "migrators/registry.h"

namespace drover::flow {

using migrators::EngineTally;

// Why a page was not moved. The words for users stand in report/why.h.
enum class Why : uint8_t {
  kNone,
  kBusy,              // refused as pinned, or by somebody who holds a reference
  kShared,            // shared with a child or parent after a fork
  kMerged,            // merged with equal pages (KSM); only root's command line can tell
  kRights,            // the mapping is not plain read-write
  kLocked,            // the mapping is locked
  kProtectionKey,     // the mapping has a protection key of its own
  kFile,              // a page of a file, or of shared memory
  kHugetlb,           // a page of hugetlb memory
  kStack,             // the main thread's stack
  kControlBlock,      // a thread's control block
  kSwapped,           // it was swapped out before its turn came
  kDiscarding,        // the application has thrown it away, and the kernel has not yet done so
  kPartOfHuge,        // the requested range cuts a huge page
  kNoTargetMemory,    // no page on the target node within the limits
  kNoTargetHuge,      // no huge page on the target node
  kHugeDisabled,      // the process has switched huge pages off (PR_SET_THP_DISABLE)
  kForeignUserfault,  // the application watches this range by a userfaultfd of its own
  kMappingChanged,    // the mapping changed while its pages were being moved
  kUnstable,          // pages kept changing under the move
  kNotTried,          // the window's bound of refusals was reached
  kOwnPathRefused,    // this process cannot take the own path (the job says why)
  kSeveralProcesses,  // mapped by several processes, or several times
  kNotMovable,        // the kernel does not move this kind
  kKernelRefused,     // the kernel's move_pages refused for another cause
  kOverBudget,        // its window would be longer than Job::max_stall_ns
  kTimeIsUp,          // Job::time_ns was over before its turn came
  kCount
};
inline constexpr uint32_t kWhyCount = static_cast<uint32_t>(Why::kCount);

enum class Outcome : uint8_t { kMoved, kAlreadyThere, kGone, kNotMoved };

enum class Phase : uint8_t {
  kCollect,
  kPrepare,
  kIsolate,
  kCopy,
  kRemap,
  kRelease,
  kKernel,
  kVerify,
  kPrecopy,
  kGather,
  kCount
};
inline constexpr uint32_t kPhaseCount = static_cast<uint32_t>(Phase::kCount);

// Where pages go, by the node where they are.
struct Placement {
  static constexpr int16_t kNotAsked = -1;  // pages of this node are not asked for
  static constexpr int16_t kSpread = -2;    // to the nodes of `spread`, in turn, by weight
  bool same = false;                        // fresh pages on the node where each page is
  uint32_t node_count = 1;                  // highest node number of the machine + 1
  int16_t target_of[kNodesMax] = {};        // by source node
  uint32_t spread_count = 0;
  int16_t spread[kNodesMax] = {};
  uint32_t spread_weight[kNodesMax] = {};  // share of each, any unit
};

// How long a job waits for a page that is busy. No window is ever held open for it: what a batch
// could not move is tried again in rounds after the walk, with a pause before each.
enum class Mode : uint8_t {
  kAsync,      // never
  kSyncLight,  // three rounds within a few milliseconds
  kSync,       // seven rounds within Job::retry_for_ns
};

// Why pages move: a label that the caller gives, by the kernel's names (enum migrate_reason). A
// copy engine may be set to take only some of them.
enum class Reason : uint8_t {
  kSyscall,
  kCompaction,
  kNumaMisplaced,
  kDemotion,
  kMemoryHotplug,
  kMempolicyMbind,
  kContigRange,
  kLongtermPin,
  kCount
};
inline constexpr uint32_t kReasonCount = static_cast<uint32_t>(Reason::kCount);

// Are pages copied ahead of their window, while the program goes on, so that only what it has
// changed since is copied in it (precopy.h)?
enum class Precopy : uint8_t {
  kNever,
  kAuto,  // huge pages that Job::max_stall_ns leaves no other way, while few of their pages change
  kAlways,
};

// How small pages are copied (untouched.h).
enum class CopyThrough : uint8_t {
  kAuto,        // what is fastest here
  kProgram,     // as all else, through the mapping that the program has, to targets that are there
  kKernel,      // the same through the kernel's own mapping of all memory
  kFill,        // by UFFDIO_COPY, which makes the target, through the program's mapping
  kKernelFill,  // the same through the kernel's
};

// In pages of which size memory is behind a job (gather.h).
enum class PageSize : uint8_t {
  kKeep,
  kAuto,  // huge where the system's policy for that mapping wants huge pages
  kHuge,
};

// Why the small pages of a 2 MiB slot have not become a huge one. The words stand in report/.
enum class WhySmall : uint8_t {
  kHoles,         // not every page of it is there
  kSeveralNodes,  // they are on several nodes, and one of those would get all of them
  kShared,        // some are shared after a fork, and would take memory of their own
  kPolicy,        // with PageSize::kAuto: the system does not want huge pages there
  kSwitchedOff,   // the mapping or the process has switched them off, or this kernel cannot
  kInUse,         // a page is pinned, or in use by the kernel
  kNoMemory,      // no huge page to be had
  kOverBudget,    // the kernel takes longer for one than Job::max_stall_ns
  kRefused,       // for another cause
  kCount
};
inline constexpr uint32_t kWhySmallCount = static_cast<uint32_t>(WhySmall::kCount);

// Two sides of the job's ranges change places, without free memory but for a first batch: each
// batch of one side comes to the pages that one of the other side has left (exchange.h).
struct Exchange {
  bool on = false;
  int16_t to[2] = {};                // the node to which the pages of each side come
  uint8_t side_of[kRangesMax] = {};  // 0 or 1, by Job::ranges
  static constexpr int kBoth = -1;   // (for who walks them)
};

struct Job {
  Placement placement;
  uint64_t batch_bytes = kBatchBytesDefault;  // a multiple of the page size, up to kBatchBytesMax
  // How long a window may be, while the mover has its CPU: batches are made so small; 0: as large
  // as batch_bytes says.
  uint64_t max_stall_ns = 0;
  bool over_budget = false;  // what does not fit by itself is moved all the same
  Precopy precopy = Precopy::kAuto;
  // How much of the machine it may take (throttle.h), and for how long: what has not had its turn
  // by then is not moved. 0: no bound.
  uint64_t rate_bytes_per_s = 0;
  uint64_t cpu_percent = 0;  // of one CPU
  uint64_t time_ns = 0;
  Reason reason = Reason::kSyscall;
  migrators::CopyWays copy_ways;  // by which the CPU copies
  CopyThrough copy_through = CopyThrough::kAuto;
  // The copy engines that share each batch (migrators/spec.h).
  uint32_t engine_count = 1;
  // Where their helpers are put (topology/helpers.h); fewer than wanted where CPUs are busy.
  uint32_t helper_count = 0;
  int16_t helper_cpus[migrators::kThreadsMax] = {};  // negative: anywhere
  bool plan_only = false;  // say what would become of each page, and touch nothing
  bool verify = false;     // compare each copy, and look for late writes (verify.h)
  Mode mode = Mode::kSyncLight;
  uint64_t retry_for_ns = kRetryForNs;
  // Pages that are shared after a fork get copies of their own, as a write of the program would
  // make them: costs the memory that sharing saved.
  bool unshare = false;
  PageSize page_size = PageSize::kKeep;
  // The originals of a batch are the targets of the next one; where pages stay on their nodes
  // (placement.same), or with `exchange`; without `verify`. reuse.h says what that risks.
  bool reuse = false;
  Exchange exchange;
  // Files and shared memory, too, and what several processes map for all of them
  // (MPOL_MF_MOVE_ALL, which takes CAP_SYS_NICE). By the kernel path.
  bool shared = false;
  bool own_path = true;      // may UFFDIO_MOVE be used
  bool kernel_path = true;   // may move_pages(2) be used
  uint32_t range_count = 0;  // 0: all private memory of the process
  Range ranges[kRangesMax] = {};

  // Not asked for: what an agent has for itself, where the job is not the agent's.
  uint32_t left_out_count = 0;
  Range left_out[kLeftOutMax] = {};

  migrators::Spec engines[migrators::kEnginesPerJobMax] = {};
  migrators::Terms terms[migrators::kEnginesPerJobMax] = {};  // of each, for this job
  // What the plugins among them are called, by place.
  migrators::PluginName plugins[migrators::kPluginsMax] = {};
  // The memory is the caller's to lose: engines that do not copy may take it without `verify`.
  bool expendable = false;

  // Where pages of node `node` of this range come; negative: Placement's words.
  int16_t TargetOf(uint32_t range, int32_t node) const {
    return exchange.on ? exchange.to[exchange.side_of[range]] : placement.target_of[node];
  }
  // Do small pages become huge before anything is moved, and not behind it (gather.h)?
  bool GathersFirst() const { return page_size != PageSize::kKeep && placement.same && !plan_only; }
  // Are pages of files and of shared memory asked for?
  bool AsksForFiles() const { return shared || range_count > 0; }
  std::span<const migrators::Spec> Engines() const { return {engines, engine_count}; }
  bool CopiesByThreadsAlone() const {
    return engine_count == 1 && engines[0].kind == migrators::Kind::kThreads;
  }
  // Would an engine of this job's tell that it has copied what it has not, unseen?
  bool TrustsALiar() const {
    for (const migrators::Spec& spec : Engines())
      if (migrators::MayLie(spec)) return !verify && !expendable;
    return false;
  }
};

// Is every field within its bounds, and are the ranges whole pages, rising and disjoint? What comes
// from elsewhere is looked at before it is used.
[[nodiscard]] bool IsValid(const Job& job);

// Counts by size: bucket 8*e + f counts values from 2^e * (1 + f/8) on, in nanoseconds.
struct Histogram {
  uint64_t count = 0;
  uint64_t total_ns = 0;
  uint64_t max_ns = 0;
  uint32_t buckets[40 * 8] = {};

  void Add(uint64_t ns);
  void AddAll(const Histogram& others);
  // The value below which `share` of 1,000 lie (upper edge of its bucket, at most max_ns).
  uint64_t PerMille(uint64_t share) const;
};

// Why the own path was not taken at all, or a job ended before its end.
enum class Trouble : uint8_t {
  kNone,
  kCancelled,
  kNoRights,        // no userfaultfd that handles kernel-mode faults
  kKernelVersion,   // this kernel's UFFDIO_MOVE is not to be trusted
  kSelfTest,        // the self-test failed on this kernel (`detail`: SelfTestStep)
  kSeccomp,         // a filter forbids one of the engine's calls (`detail`: its number)
  kStandsBack,      // the process uses something that the own path may break (`detail`:
                    // StandBackSet)
  kGateStuck,       // the application stayed in a gated call
  kMappings,        // too few mappings are left below vm.max_map_count
  kDiscards,        // too many discarded pages are outstanding
  kNoMemory,        // the engine could not map its own areas
  kNoThreads,       // the engine could not start its threads
  kThreadsHidden,   // the threads' control blocks could not be found
  kProcess,         // the process cannot be read (`detail`: error number)
  kTargetVanished,  // the process ended
  kNoAgent,         // the process was not started by `drover run`
  kNoSocket,        // the agent found no folder for its socket
  kNoSuchEngine,    // a plugin that the request names is not there (any more)
  kBadJob,          // the request is not one that this engine understands
  kDescriptors,     // too few descriptors are left below RLIMIT_NOFILE
  kDontForkRanges,  // no fork events, and what is inherited could not be looked up
  kAgentEnded,      // the agent was taken out of work, or ended because the program needs it gone
};

// What the own path stands back from.
enum class StandBackFrom : uint8_t {
  kTracer,        // a debugger reads and writes through references that are not seen
  kFuse,          // /dev/fuse: replies are written through plain references
  kKernelTls,     // received data is decrypted through plain references
  kDirectIo,      // O_DIRECT on NFS, Ceph or 9p: the same
  kKvm,           // guests follow page tables by their own ways
  kDevices,       // VFIO, iommufd, KFD, nvidia-uvm, InfiniBand, DSA, vhost
  kOwnUserfault,  // one registration per range
  kXdp,           // AF_XDP: its calls fail in a hole
  kPiFutex,       // priority-inheritance futexes: the same, and libc then ends the program
  kRobustMutex,   // the kernel writes to it at thread exit and gives up in a hole
  kRawThreads,    // threads by raw clone: what the kernel writes for them is unknown
  kCount
};
// Bit n stands for StandBackFrom n.
using StandBackSet = uint32_t;
constexpr StandBackSet SetOf(StandBackFrom from) {
  return StandBackSet{1} << static_cast<uint32_t>(from);
}

// What became of a write that the kernel made to an original after it had been copied.
enum class LateFate : uint8_t {
  kCarriedOver,  // the live page has it now
  kConflict,     // the live page had changed, or could not be isolated; it was left as it is
  kGone,         // no page is there any more: freed, or carried elsewhere by mremap
  kCount
};
inline constexpr uint32_t kLateFateCount = static_cast<uint32_t>(LateFate::kCount);

struct LateWrite {
  uint64_t address = 0;  // of the first byte that was written; unknown: of the page
  uint32_t bytes = 0;    // how many have changed; 0: unknown, because the copy is gone
  LateFate fate = LateFate::kConflict;
};

// A thread's wait on a window.
struct LongWait {
  uint64_t address = 0;  // of the page, as it was when its batch began
  uint64_t waited_ns = 0;
  Phase phase = Phase::kIsolate;  // in which it came
};

// Waits at the gate between batches.
struct GateWaits {
  uint64_t count = 0, total_ns = 0, max_ns = 0;
};

struct JobResult {
  uint64_t pages_estimated = 0;  // found by a quick walk before the first batch
  uint64_t pages_requested = 0;
  uint64_t pages_moved = 0;
  uint64_t pages_already_there = 0;
  uint64_t pages_gone = 0;
  uint64_t pages_not_moved = 0;
  uint64_t moved_own_path = 0;
  uint64_t moved_kernel_path = 0;
  uint64_t moved_huge = 0;  // of those by the own path: as whole huge pages
  // With Job::page_size: small pages that have become part of huge ones; and 2 MiB slots with small
  // pages of which that was asked, that stay as they are.
  uint64_t pages_gathered = 0;
  uint64_t slots_small[kWhySmallCount] = {};
  uint64_t smallest_gather_budget_ns = 0;  // of WhySmall::kOverBudget
  uint64_t not_moved_why[kWhyCount] = {};
  uint64_t phase_ns[kPhaseCount] = {};
  uint64_t wall_ns = 0;
  Histogram stalls;             // waits of application threads on windows
  Histogram windows;            // from move-out to move-in
  Histogram first_touch_waits;  // of threads on pages that were never there, until they get one
  Histogram lock_holds;        // calls that hold the mmap lock for writing: bounds who waits for it
  GateWaits gate_waits;        // of calls of the application's that must not meet a batch
  Histogram stalls_of_reason;  // with `stalls`: of all jobs of this reason since the engine began
  uint32_t long_wait_count = 0;
  LongWait long_waits[kLongWaitsNamed] = {};
  uint64_t windows_preempted = 0;
  uint64_t windows_over_budget = 0;  // of those that were not
  // By which pages of Why::kOverBudget would be moved, as far as was seen; 0: there are none.
  uint64_t smallest_budget_ns = 0;
  uint64_t windows_guarded = 0;  // in which a child made by an inline system call had no mapping
  uint64_t batches = 0;          // of a plan: that the job would make
  uint64_t rounds = 0;           // after the walk, for pages that were busy
  uint64_t pages_unshared = 0;   // with Job::unshare: that got a copy of their own
  // What happened on the way; for the curious and for tests.
  uint64_t moves_denied = 0;                        // pages that MOVE moved and denied
  uint64_t ladder_steps = 0;                        // pages put back behind the first rung
  uint64_t ladder_copies = 0;                       // of those, by UFFDIO_COPY
  uint64_t first_touches = 0;                       // faults on pages that were never there
  uint64_t children_filled = 0;                     // holes filled in children
  EngineTally engines[migrators::kKindCount] = {};  // by migrators::Kind
  uint64_t pages_by_cpu = 0;     // of those by the own path: that no engine had copied
  uint64_t pages_precopied = 0;  // that were copied ahead of their window, and
  uint64_t pages_changed = 0;    // of those: that were copied again in it
  CopyThrough copied_through = CopyThrough::kAuto;  // small pages, if any
  uint64_t pages_filled_ahead = 0;  // whose targets were faulted in while another batch moved
  uint64_t pages_reused = 0;        // whose targets were the originals of other pages
  uint64_t pages_retargeted = 0;  // whose target a late engine still had, so that they got another
  uint32_t copy_threads = 1;      // that there were, the mover included
  uint64_t helper_cpu_ns = 0;     // CPU time of the copy engines' threads, the mover's not
  uint64_t batches_alone = 0;     // without helpers by a trial (helpers_trial.h)
  uint64_t late_chunks = 0;       // whose helper lost its CPU, so that the mover copied them, too
  // With Job::verify.
  uint64_t pages_compared = 0;
  uint64_t copied_again = 0;  // copies that differed from their originals before they were remapped
  uint64_t late_writes[kLateFateCount] = {};  // pages
  uint32_t late_named = 0;
  LateWrite late[kLateWritesNamed] = {};
  Trouble own_path_trouble = Trouble::kNone;  // why the own path was left, for the rest or all
  uint32_t own_path_detail = 0;
  uint32_t own_count = 0;  // the engine's memory, which was not asked for
  Range own[kOwnRangesMax] = {};
  Trouble ended_by = Trouble::kNone;  // why the job ended before its end
  uint32_t ended_detail = 0;
};

}  // namespace drover::flow
