// The engine's state: everything that the phases share. It stands in the engine's own mapping, so
// that nothing it touches in a window can itself be in a window.
//
// Threads: the mover (whoever calls RunJob) owns it. The fault thread touches `batch`, `marks`,
// `waiters` and the counters of events, only under `lock`. Every MOVE happens under `lock`, and so
// do reading a message and carrying out what it means.
#pragma once

#include "flow/batch.h"
#include "flow/budget.h"
#include "flow/control_blocks.h"
#include "flow/gate.h"
#include "flow/headroom.h"
#include "flow/helpers_trial.h"
#include "flow/job.h"
#include "flow/kernel_chunk.h"
#include "flow/marks.h"
#include "flow/pool_filler.h"
#include "flow/precopy.h"
#include "flow/rules.h"
#include "flow/self_test.h"
#include "flow/slot.h"
#include "flow/throttle.h"
#include "kernel/kernel.h"
#include "migrators/copy_by_kernel.h"
#include "threads/threads.h"

namespace drover::flow {

// Excludes the mover and the fault thread from one another; held for tens of microseconds.
class MoveLock {
 public:
  explicit MoveLock(threads::Threads& threads) : threads_(threads) {}
  void Lock() {
    for (int spins = 0;; ++spins) {
      if (word_.exchange(kHeld, std::memory_order_acquire) == kFree) return;
      if (spins > kSpins && word_.exchange(kAwaited, std::memory_order_acquire) == kFree) return;
      if (spins > kSpins) threads_.Wait(word_, kAwaited, kNapNs);
    }
  }
  void Unlock() {
    if (word_.exchange(kFree, std::memory_order_release) == kAwaited) threads_.WakeAll(word_);
  }

 private:
  static constexpr uint32_t kFree = 0, kHeld = 1, kAwaited = 2;
  static constexpr int kSpins = 200;
  static constexpr uint64_t kNapNs = 50'000;  // a waiter's mark may be overwritten: look again
  threads::Threads& threads_;
  threads::Word word_ = kFree;
};

// What the engine is made of, chosen by the house it runs in.
struct Parts {
  kernel::Kernel& kernel;
  threads::Threads& threads;
  Gate& gate;
  migrators::CopyFunctions copy;
  ControlBlockLayout control_blocks;
  YoungThreads* young = nullptr;    // the gate's record of threads, where pthread_create passes it
  uint32_t engine_threads = 0;      // threads without a control block that are the house's own
  bool foreign = false;             // the job's memory is another process's (kernel path only)
  bool own_table = false;           // the engine's descriptors stand in a table of their own
  uint32_t visible_userfaults = 0;  // userfaultfds of the house's own in the program's table
  bool self_test = false;           // before the first job by the own path (own_path.h)
  bool fork_events = true;          // does the userfaultfd tell of forks
  // Not 0: the application has changed what is inherited; may be nullptr.
  threads::Word* dont_fork_changed = nullptr;
  // StandBackSet of what the program was seen to call for, by the house's hooks; may be nullptr.
  threads::Word* seen_calls = nullptr;
};

// What the observer answers between two batches.
enum class Next : uint8_t {
  kGoOn,
  kStop,
  kRestartThreads,  // the mover has changed its identity: the other engine threads start anew
};

// Between two batches the flow tells how far it is, page by page, and asks whether to go on. All is
// called on the mover thread, never inside a window.
class Observer {
 public:
  // `target`: the node that the pages were to come to; negative: each to its own.
  virtual void PagesDone(uint64_t address, uint64_t pages, int32_t target, Outcome outcome,
                         Why why) = 0;
  virtual Next GoOn(const JobResult& so_far) = 0;
  // A window over `live` has closed.
  virtual void WindowClosed(Range live, const WindowTimes& window, bool preempted) {
    (void)live, (void)window, (void)preempted;
  }

 protected:
  ~Observer() = default;
};

class Background;
class Gatherer;
class KernelCrew;
class Verifier;

// Pages that wait for the next round of tries (again.h).
struct AgainRun {
  uint64_t address = 0;
  uint64_t pages = 0;
  int16_t target = -1;
  bool huge = false;
  Why why = Why::kNone;  // of the last try
};
struct AgainList {
  uint32_t count = 0;
  AgainRun runs[kAgainRunsMax];
};

// Isolation area and pool, each kAreaBytes long, aligned to huge pages. One pair for small pages
// and one for huge ones: a slot that held small pages keeps its page table, and would split a huge
// page.
struct Areas {
  uint64_t area_small = 0, area_huge = 0, pool_small = 0, pool_huge = 0;
};

// Originals that are to be targets (reuse.h).
struct Reused {
  Range pages;  // in a pool; empty: none
  bool huge = false;
  bool whole = false;    // no page is missing there
  uint64_t present = 0;  // pages that are there
  Node node;
  Node preferred;  // in this job, by the first areas; invalid: none yet
  // Of a job that exchanges memory: pages that each of its nodes has got back from it, and of which
  // as many may be taken there again.
  uint64_t given_back[2] = {};
};

struct Engine {
  explicit Engine(const Parts& parts)
      : kernel(parts.kernel),
        threads(parts.threads),
        gate(parts.gate),
        copy(parts.copy),
        layout(parts.control_blocks),
        young(parts.young),
        engine_threads(parts.engine_threads),
        foreign(parts.foreign),
        own_table(parts.own_table),
        visible_userfaults(parts.visible_userfaults),
        self_test_due(parts.self_test),
        fork_events(parts.fork_events),
        dont_fork_changed(parts.dont_fork_changed),
        seen_calls(parts.seen_calls),
        fill_plainly(parts.kernel, false),
        fill_by_kernel(parts.kernel, true),
        lock(parts.threads) {}

  kernel::Kernel& kernel;
  threads::Threads& threads;
  Gate& gate;
  migrators::CopyFunctions copy;
  ControlBlockLayout layout;
  YoungThreads* young;
  uint32_t engine_threads;
  bool foreign;
  bool own_table;
  uint32_t visible_userfaults;
  bool self_test_due;
  CopyThrough fastest_through = CopyThrough::kAuto;  // for small pages; kAuto: not tried yet
  bool fork_events;
  threads::Word* dont_fork_changed;
  uint32_t dont_fork_count = 0;
  Range dont_fork[kDontForkRangesMax];
  Range wiped[kDontForkRangesMax];
  // Of the job in hand: mappings that MOVE refuses for their lock or key (unlike.h).
  bool unlike_known = false;
  uint32_t unlike_count = 0;
  Range unlike[kUnlikeRangesMax];
  Why unlike_why[kUnlikeRangesMax];
  threads::Word* seen_calls;
  SelfTestStep self_test_failed = SelfTestStep::kNone;
  PoolFiller fill_plainly, fill_by_kernel;
  MoveLock lock;

  // Own memory: never moved. The arena that holds this object, stacks, and what the house adds.
  uint32_t own_count = 0;
  Range own[kOwnRangesMax];
  // The second ones are for batches while a copy engine holds the first ones.
  Areas areas[2];
  Range apart;  // where the huge ones stand
  bool first_areas_held = false;
  Reused reused;
  uint64_t spare_page = 0;  // for the barrier
  bool spare_writable = true;

  // The job in hand.
  const Job* job = nullptr;
  JobResult* result = nullptr;
  Observer* observer = nullptr;
  uint32_t slot_count = 0;
  Slot slots[migrators::kEnginesPerJobMax];
  migrators::Migrator* instead = nullptr;           // of all those, for a batch of its own
  migrators::Registry registry;                     // outlasts the job
  EngineTally counted[migrators::kKindCount] = {};  // of the job, what the registry knows of
  // Plugins that had not answered when their job ended.
  uint32_t stuck_count = 0;
  Holder stuck[migrators::kPluginsMax];
  Verifier* verifier = nullptr;  // with Job::verify
  Range verifier_room;
  Background* background = nullptr;  // where the job has a CPU for it
  Gatherer* gatherer = nullptr;      // at its turn
  Range background_room, background_apart;
  Headroom headroom;
  Budget budget;
  WriteRate write_rate;
  Throttle throttle;
  HelpersTrial helpers_trial;  // outlasts the job
  uint64_t time_is_up_ns = 0;  // when the job may begin no more batches; 0: never
  bool time_is_up = false;
  bool huge_disabled = false;  // no huge page can be had in this process
  uint64_t spread_given[kNodesMax] = {};
  // While pages refuse although their child is gone, a write fault before the window mends that.
  uint32_t mend_pieces_left = 0;
  std::atomic<bool> fault_thread_stops = false;

  Batch batch;
  Marks marks;
  ControlBlocks control_blocks;
  uint32_t waiter_count = 0;
  uint64_t queue_empty_ns = 0;                 // when the queue of messages was last seen empty
  std::atomic<uint64_t> registered_ns = 0;     // when the batch's range was
  std::atomic<Phase> phase = Phase::kCollect;  // of the mover
  // Of the jobs since this engine began, by their reason.
  Histogram stalls_of[kReasonCount];
  Waiter waiters[kWaitersMax];
  // By generation: where each isolated page is missing in a child that is being filled; 0: nowhere.
  uint64_t child_holes[kGenerationsMax][kBatchPagesMax];
  kernel::PageEntry entries[kBatchPagesMax];
  kernel::PageRegion regions[kBatchPagesMax];
  migrators::Folio folios[kBatchPagesMax];
  alignas(64) uint8_t read_again[kPrecopyStepBytes];  // precopy.h; copy functions want cache lines
  alignas(kPageBytes) uint8_t copy_buffers[migrators::kCopyBuffersBytes];  // copy_by_kernel.h
  int32_t nodes[kBatchPagesMax];
  uint64_t addresses[kBatchPagesMax];
  // Pages put aside for the kernel path: folio address, pages, and why the own path did not take
  // them.
  KernelChunk kernel_chunk;
  KernelCrew* kernel_crew = nullptr;  // in a job
  uint32_t kernel_count = 0;
  std::atomic<kernel::Errno> kernel_error = kernel::Errno::kOk;  // of its last calls
  uint64_t kernel_page_count = 0;                                // of all of them
  uint64_t kernel_address[kKernelChunkFolios];
  uint32_t kernel_pages[kKernelChunkFolios];
  int32_t kernel_target[kKernelChunkFolios];
  Why kernel_why[kKernelChunkFolios];
  int32_t kernel_status[kKernelChunkFolios];
  AgainList again;

  // The engine's own memory where the job's memory is. (Own addresses say nothing of another
  // process.)
  std::span<const Range> OwnRanges() const { return {own, foreign ? 0 : own_count}; }
  bool IsWhollyOwn(Range range) const {
    for (const Range& mine : OwnRanges())
      if (mine.Contains(range)) return true;
    return false;
  }
  bool IsOwn(Range range) const {
    if (!RuleHolds(Rule::kExcludeOwn)) return false;
    for (const Range& mine : OwnRanges())
      if (mine.Overlaps(range)) return true;
    return false;
  }
};

// False: the application stays in a gated call (own_path_trouble says so), and the gate is open.
[[nodiscard]] inline bool CloseGate(Engine& engine) {
  const auto pause = [&] {
    const threads::Word nothing = 0;
    engine.threads.Wait(nothing, 0, kGateWaitNs);
  };
  if (engine.gate.CloseInTime(kGateWaitNs, kGateTriesMax, pause)) return true;
  engine.result->own_path_trouble = Trouble::kGateStuck;
  return false;
}

// Measures one phase.
class PhaseTimer {
 public:
  PhaseTimer(Engine& engine, Phase phase)
      : engine_(engine), phase_(phase), begin_ns_(engine.kernel.NowNs()) {
    engine.phase.store(phase, std::memory_order_relaxed);
  }
  ~PhaseTimer() {
    engine_.result->phase_ns[static_cast<uint32_t>(phase_)] += engine_.kernel.NowNs() - begin_ns_;
  }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

 private:
  Engine& engine_;
  Phase phase_;
  uint64_t begin_ns_;
};

}  // namespace drover::flow
