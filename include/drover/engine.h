// drover in your own process: move ranges of your memory to other nodes, or to fresh pages, while
// your threads go on using it.
//
//   auto engine = drover::Engine::Open({});
//   if (!engine) { puts(engine.error().message.c_str()); return; }
//   drover::MoveRequest request;
//   request.ranges = {{buffer, bytes}};
//   request.target = drover::Target::ToNode(1);
//   auto result = (*engine)->Move(request);
//
// Needs Linux 6.12.43 or newer (not 6.13 to 6.15; newer than 6.18 after a self-test) and the right
// to userfaultfd with kernel-mode faults and fork events (root or CAP_SYS_PTRACE) for the own path;
// without them the kernel's move_pages(2) does what it can.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace drover {

// What went wrong, on what, and the way out, in one line.
struct Error {
  enum class Kind {
    kFailed,        // the job itself failed (exit code 1)
    kUsage,         // the request makes no sense (2)
    kUnavailable,   // something that was named is not there (4)
    kNotPermitted,  // (5)
    kTargetGone,    // the process ended (6)
  };
  Kind kind = Kind::kFailed;
  std::string message;
};

// A piece of the caller's address space. Cut to whole pages: every page that it touches.
struct AddressRange {
  const void* start = nullptr;
  size_t length_bytes = 0;
};

struct Target {
  // Fresh pages on the node where each page is.
  static Target Same() { return {}; }
  static Target ToNode(int node) { return {node}; }
  int node = -1;
};

struct Progress {
  uint64_t pages_done = 0;
  uint64_t pages_estimated = 0;  // from a quick look before the first batch
  double seconds = 0;
};

// How long a job waits for pages that are busy: pinned for a transfer, changing. No batch is ever
// kept absent for it; what could not be moved is tried again in rounds after the walk.
enum class Mode {
  kAsync,      // never
  kSyncLight,  // three rounds within 7 ms
  kSync,       // seven rounds within MoveRequest::retry_for_s
};

// Pages of this range were absent for so long: for who measures what others wait.
struct Window {
  AddressRange range;
  uint64_t opened_tsc = 0, closed_tsc = 0;  // by the CPU's time stamp counter
  bool preempted = false;                   // the engine lost its CPU meanwhile
};

// Are pages copied ahead of the time in which they are absent, so that only those that the program
// has changed since are copied in it?
enum class Precopy {
  kNever,
  kAuto,    // huge pages that cannot keep max_stall_us otherwise, while few of their pages change
  kAlways,  // takes more CPU time, and passes the copy engines by
};

// In pages of which size memory is behind a move.
enum class PageSize {
  kKeep,
  kAuto,  // huge where the system's policy for that mapping wants huge pages
  kHuge,  // where the program has not switched them off
};

// How small pages are copied. By whose mapping: the program's; or the kernel's, which has touched
// all memory already (process_vm_readv and its like; never below a seccomp filter), for machines
// where a CPU's first touch of a page is dear, such as guests without nested paging. And to where:
// to pages that are faulted in before; or to ones that are made, without being zeroed, as they are
// copied to (UFFDIO_COPY).
enum class CopyThrough {
  kAuto,  // what is fastest here: tried once, on memory of the engine's own
  kProgram,
  kKernel,
  kFill,
  kKernelFill,
};

struct MoveRequest {
  std::vector<AddressRange> ranges;
  Target target;
  size_t batch_bytes = 2u << 20;  // pages that are absent at once; up to 16 MiB
  // The copy engines that share each batch, separated by commas: "serial", "threads:N" (N from 1 to
  // 16, the mover included), "channels:N" (N from 1 to 8); for tests "null" and "fault:KIND". Their
  // threads run only on CPUs that are idle; looking for those takes 50 ms, at most every ten
  // seconds.
  std::string migrator = "serial";
  // How long pages may be absent at a time, while a CPU is free for the engine: batches are made so
  // small, from what those before them took. 0: no such limit; else from 10 us to 10 s. Huge pages
  // that cannot be moved within it stay (MoveResult::stall_budget), unless `over_budget` is set.
  double max_stall_us = 0;
  bool over_budget = false;
  Precopy precopy = Precopy::kAuto;
  CopyThrough copy_through = CopyThrough::kAuto;
  // A label, by which a copy engine may be chosen: one of the kernel's names, such as "demotion".
  std::string reason = "syscall";
  // Nobody minds if the memory loses its content: engines that do not copy ("null") may have it
  // without `verify`.
  bool expendable = false;
  // Compare each copy before the program sees it, and look for writes that the kernel makes to an
  // original afterwards (MoveResult::verified). Keeps up to 64 MiB of originals, each for 100 ms.
  bool verify = false;
  Mode mode = Mode::kSyncLight;
  double retry_for_s = 1;  // of Mode::kSync; up to an hour
  // Give pages that are shared with a child or parent after a fork copies of their own, and move
  // those. Costs the memory that sharing saved (MoveResult::pages_unshared), and splits huge pages.
  bool unshare = false;
  // The pages that one batch leaves are the targets of the next one, with Target::Same() and
  // without `verify`. Faster, and not for everybody: the kernel may still use a page that was left,
  // through a reference that nobody sees (MSG_ZEROCOPY, vmsplice, a driver that is late), and would
  // then read or write what has its place there now. The memory must not be in such use.
  bool reuse = false;
  // What is in small pages becomes huge, where all of a 2 MiB slot is there, by the kernel
  // (MADV_COLLAPSE, Linux 6.1): behind the move, or with Target::Same() in its place, because it
  // takes fresh memory; pages are then counted in pages_by_kernel_path. See MoveResult::gathered.
  PageSize page_size = PageSize::kKeep;
  // Touch nothing: the result says what would become of each page, by which path, and why not.
  bool plan_only = false;
  // Called between batches on an engine thread; false stops there. May be empty. It must not call
  // the engine.
  std::function<bool(const Progress&)> progress;
  // Called behind each window, on an engine thread. May be empty. It must not call the engine.
  std::function<void(const Window&)> window;
};

struct Percentiles {
  uint64_t count = 0;
  double p50_us = 0, p99_us = 0, p999_us = 0, max_us = 0, total_us = 0;
};

struct NotMoved {
  std::string why;  // in words
  uint64_t pages = 0;
  bool temporary = false;  // may another try help
  std::string hint;
};

// A write that the kernel made to an original after it had been copied (a driver's, through a
// reference that nobody else sees).
struct LateWrite {
  enum class Fate {
    kCarriedOver,  // the live page has it
    kConflict,     // the live page had changed, or could not be isolated: it was left as it is
    kGone,         // no page is there any more: freed, or carried elsewhere by mremap
  };
  uint64_t address = 0;  // of its first byte; of the page where `bytes` is 0
  uint64_t bytes = 0;    // that have changed; 0: unknown
  Fate fate = Fate::kConflict;
};

// 2 MiB slots with small pages that stay as they are.
struct StaysSmall {
  std::string why;  // in words
  uint64_t slots = 0;
  std::string hint;
};

// With MoveRequest::page_size.
struct Gathered {
  uint64_t pages = 0;  // small ones that are parts of huge ones now
  std::vector<StaysSmall> stay_small;
  double smallest_max_stall_us = 0;  // by which those that took too long would be gathered
};

// What one copy engine did.
struct ByMigrator {
  std::string migrator;      // "threads:2"
  uint64_t pages = 0;        // that it copied, of those that were moved
  uint64_t batches = 0;      // (parts of) batches that it took
  uint64_t refused = 0;      // and that it did not take
  uint64_t failed = 0;       // of those it took: with a folio that it did not copy
  uint64_t late = 0;         // of those it took: whose answer did not come in time
  uint64_t fallen_back = 0;  // pages of what it took that the CPU has copied for it
};

struct Verified {
  uint64_t pages_compared = 0;
  uint64_t copied_again = 0;  // copies that were wrong, and were made again before they were seen
  uint64_t carried_over = 0, conflicts = 0, gone = 0;  // pages with a late write
  std::vector<LateWrite> late_writes;                  // the first 32 of them
};

// pages_requested = pages_moved + pages_already_there + pages_gone + pages_not_moved, always.
struct MoveResult {
  uint64_t pages_requested = 0;
  uint64_t pages_moved = 0;
  uint64_t pages_already_there = 0;
  uint64_t pages_gone = 0;  // freed or replaced by the program during the job
  uint64_t pages_not_moved = 0;
  uint64_t pages_by_own_path = 0;
  uint64_t pages_by_kernel_path = 0;
  uint64_t pages_unshared = 0;  // with `unshare`: that got a copy of their own
  uint64_t retry_rounds = 0;    // after the walk, for pages that were busy
  std::vector<ByMigrator> by_migrator;
  uint64_t pages_by_cpu = 0;        // of those by the own path: that no copy engine had copied
  uint64_t pages_filled_ahead = 0;  // of which the target was faulted in while others were moved
  uint64_t pages_reused = 0;        // with `reuse`: of which it was the original of another
  uint64_t pages_precopied = 0;     // copied ahead of the time in which they were absent, and
  uint64_t pages_changed = 0;       // of those: copied again in it
  CopyThrough copied_through = CopyThrough::kAuto;  // small ones, if there were any
  // Of which a late copy engine still had the target page, so that they got another one.
  uint64_t pages_retargeted = 0;
  unsigned copy_threads = 1;  // that there were, the mover included
  double helper_cpu_s = 0;    // CPU time of the copy engines' threads, the mover's not
  // Batches without helpers and without the pipeline: they were faster so, or were to show whether
  // they are.
  uint64_t batches_alone = 0;
  uint64_t late_chunks = 0;  // whose helper lost its CPU; the mover copied them, too
  double seconds = 0;
  struct Phases {
    double collect = 0, prepare = 0, isolate = 0, copy = 0, remap = 0, release = 0, kernel = 0,
           verify = 0, precopy = 0, gather = 0;
  } phases_s;
  Percentiles stall;               // waits of application threads on pages that were absent
  Percentiles window;              // how long batches were absent
  uint64_t windows_preempted = 0;  // windows in which the engine lost its CPU
  // What else the program waited for. Pages that were never there, until they got one:
  Percentiles first_touch;
  // The mmap lock: how long each call of the engine's held it at most. Whoever maps, unmaps or
  // faults meanwhile waits no longer.
  Percentiles lock_hold;
  // Calls that must not meet a batch (mremap, pthread_create, setuid, fork without the right to its
  // events).
  struct Waits {
    uint64_t count = 0;
    double total_us = 0, max_us = 0;
  } gate;
  Percentiles stall_of_reason;  // as `stall`: of all moves of this reason since the engine began
  struct LongStall {
    uint64_t address = 0;  // of the page
    double us = 0;
    std::string phase;  // in which the thread came: "isolate", "copy", "verify" or "remap"
  };
  std::vector<LongStall> longest_stalls;  // in falling order
  // With MoveRequest::max_stall_us.
  struct StallBudget {
    double max_stall_us = 0;           // as asked for
    uint64_t windows_over = 0;         // that were longer, of those that were not preempted
    uint64_t pages_left = 0;           // that cannot be moved within it
    double smallest_max_stall_us = 0;  // by which those would be moved, as far as was seen
  };
  std::optional<StallBudget> stall_budget;
  // Without the right to fork events: windows in which a child made by an inline system call would
  // have had no mapping (SIGSEGV at its first touch). fork() itself waits for the batch boundary.
  uint64_t windows_guarded = 0;
  std::vector<NotMoved> not_moved;
  std::string own_path_refused;      // why the own path was not taken; empty: it was
  std::optional<Verified> verified;  // where it was asked for
  std::optional<Gathered> gathered;  // where it was asked for
  bool cancelled = false;

  uint64_t bytes_moved() const { return pages_moved * 4096; }
  double gb_per_s() const {
    return seconds > 0 ? static_cast<double>(bytes_moved()) / 1e9 / seconds : 0;
  }
};

// What a copy engine gets. What is empty stays as it is.
struct MigratorSettings {
  std::optional<bool> registered;  // false: no batches
  std::optional<std::vector<std::string>>
      reasons;  // of the moves whose batches it gets; empty: all
  std::optional<uint64_t> smallest_batch_bytes;
};

// A copy engine as it stands.
struct MigratorState {
  std::string name;  // without its number: "threads"
  bool plugin = false;
  bool registered = true;
  bool idle = true;  // has no batch, and touches no memory of one
  unsigned channels = 1;
  bool hardware = false;
  std::vector<std::string> capabilities;
  std::vector<std::string> reasons;  // empty: all
  uint64_t smallest_batch_bytes = 0;
  ByMigrator total;  // since it came
};

// One engine for the process. Threads: Move from one thread at a time; Cancel from any, also from a
// signal handler.
//
// While a Move runs, the calling program must not call mremap on the ranges, must not install guard
// pages there (MADV_GUARD_INSTALL), must not use
// priority-inheritance or robust mutexes that lie in them, and must not start threads whose stacks
// lie in them (such a thread could end while its control block is away, and its join would hang;
// in programs under `drover run` the agent sees to both). setuid waits for the batch boundary.
class Engine {
 public:
  struct Options {
    bool own_path = true;  // false: only move_pages(2)
  };

  [[nodiscard]] static std::expected<std::unique_ptr<Engine>, Error> Open(const Options& options);
  virtual ~Engine() = default;

  [[nodiscard]] virtual std::expected<MoveResult, Error> Move(const MoveRequest& request) = 0;
  // Stops a running Move at the next batch boundary.
  virtual void Cancel() = 0;
  // ---- copy engines; from any thread but the progress callback, also while a Move runs
  // Opens a plugin (drover/migrator.h) and registers it under its name, which is returned; from
  // then on MoveRequest::migrator knows it. The file must be root's or the caller's own, and nobody
  // else may write to it. At most four.
  [[nodiscard]] virtual std::expected<std::string, Error> LoadMigrator(
      const std::string& path, const std::string& options) = 0;
  // It gets no batch any more; when it has let go of its last one it is closed and unloaded. An
  // error: it still has one after `timeout_s`. It stays loaded then, without getting batches.
  [[nodiscard]] virtual std::expected<void, Error> UnloadMigrator(const std::string& name,
                                                                  double timeout_s) = 0;
  [[nodiscard]] virtual std::expected<void, Error> SetMigrator(
      const std::string& name, const MigratorSettings& settings) = 0;
  virtual std::vector<MigratorState> Migrators() = 0;

  // Why the own path is not to be had here; empty: it is.
  virtual std::string OwnPathRefused() const = 0;
};

}  // namespace drover
