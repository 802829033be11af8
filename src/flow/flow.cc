#include "flow/flow.h"

#include "flow/collect.h"
#include "flow/events.h"
#include "flow/kernel_path.h"
#include "flow/phases.h"
#include "flow/stand_back.h"
#include "migrators/serial.h"
#include "migrators/threads.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

// Frees what a batch has left: originals in the area, unused pages in the pool. Whole huge-page
// slots, so that an emptied page table goes too (Linux 6.14) and a huge page can come whole.
void FreeAreas(Engine& engine, uint64_t area, uint64_t pool, uint64_t length) {
  const PhaseTimer timer(engine, Phase::kRelease);
  if (!RuleHolds(Rule::kFreeOriginals))
    for (uint64_t i = 0; i < length / kPageBytes; ++i)
      if (engine.batch.state[i] == PageState::kRemapped)
        engine.copy(area + i * kPageBytes, engine.spare_page, kPageBytes);
  (void)engine.kernel.Advise({area, length}, Advice::kDontNeed);
  (void)engine.kernel.Advise({pool, length}, Advice::kDontNeed);
}

// From now on no event finds a page of this batch; what became of each page stays in the table.
void CloseTable(Engine& engine) {
  engine.lock.Lock();
  engine.batch.live = {};
  engine.batch.page_count = 0;
  engine.batch.followed_count = 0;
  engine.batch.follows_more = false;
  engine.lock.Unlock();
}

// One batch, from the table to the release. Pages end as kRemapped, kRestored, kDropped,
// kWithdrawn or kRefused.
bool MoveBatch(Engine& engine) {
  Batch& batch = engine.batch;
  const uint64_t area = batch.area, pool = batch.pool, length = batch.live.length;
  Prepare(engine);
  if (RuleHolds(Rule::kGate) && !engine.gate.Close(kGateWaitNs)) {
    engine.result->own_path_trouble = Trouble::kGateStuck;
    CloseTable(engine);
    FreeAreas(engine, area, pool, length);
    return false;
  }
  engine.threads.AllowIdentitySignal(false);
  const bool found =
      engine.control_blocks.Find(engine.kernel, engine.layout, engine.young) == Errno::kOk;
  if (!found) engine.result->own_path_trouble = Trouble::kThreadsHidden;
  if (found && OpenBatch(engine)) {
    if (RuleHolds(Rule::kPinMover)) engine.kernel.PinThread();
    const uint64_t switches = engine.kernel.InvoluntarySwitches();
    Isolate(engine);
    Copy(engine);
    Remap(engine);
    if (engine.kernel.InvoluntarySwitches() != switches) ++engine.result->windows_preempted;
    engine.kernel.UnpinThread();
    Release(engine);
    ++engine.result->batches;
  }
  if (RuleHolds(Rule::kGate)) engine.gate.Open();
  engine.threads.AllowIdentitySignal(true);
  CloseTable(engine);
  FreeAreas(engine, area, pool, length);
  return found;
}

// Fills the batch's table with the pages of `piece` that go to `target`. From now on events that
// name its pages find them.
void FillTable(Engine& engine, const Piece& piece, int16_t target) {
  Batch& batch = engine.batch;
  engine.lock.Lock();
  batch.page_count = piece.range.length / kPageBytes;
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    batch.state[i] = piece.target[i] == target ? PageState::kWanted : PageState::kNotWanted;
    batch.why[i] = Why::kNone;
    batch.address[i] = piece.range.start + i * kPageBytes;
  }
  batch.live = piece.range;
  batch.huge = piece.huge;
  batch.target = Node{target >= 0 ? target : -1};
  // The same place within a huge page as in the live range: one page table on each side.
  const uint64_t shift = piece.range.start % kHugeBytes;
  batch.area = (piece.huge ? engine.area_huge : engine.area_small) + shift;
  batch.pool = (piece.huge ? engine.pool_huge : engine.pool_small) + shift;
  batch.refusals = batch.agains = 0;
  engine.lock.Unlock();
}

// May another try help?
bool Curable(Why why) {
  return why == Why::kBusy || why == Why::kNotTried || why == Why::kUnstable;
}

// A page whose child is gone refuses until it is written; a write fault does it without a copy.
// Only pages that are mapped once, so that nothing shared is copied.
void MendAfterFork(Engine& engine, const Piece& piece) {
  if (!RuleHolds(Rule::kMendAfterFork)) return;
  const uint64_t pages = piece.range.length / kPageBytes;
  if (engine.kernel.ReadEntries(piece.range.start, {engine.entries, pages}) != Errno::kOk) return;
  for (uint64_t at = 0; at < pages;) {
    uint64_t end = at;
    while (end < pages && (piece.target[end] >= 0 || piece.target[end] == Piece::kAnywhere) &&
           engine.entries[end].present() && engine.entries[end].exclusive())
      ++end;
    if (end > at)
      (void)engine.kernel.Advise({piece.range.start + at * kPageBytes, (end - at) * kPageBytes},
                                 Advice::kPopulateWrite);
    at = end + 1;
  }
}

// The own path for the pages of one piece that go to one node, with a second try for what a second
// try may cure. False: the own path is over for this job.
bool TryOwnPath(Engine& engine, Piece& piece, int16_t target, PageState* state, Why* why) {
  const uint64_t pages = piece.range.length / kPageBytes;
  Batch& batch = engine.batch;
  bool going_on = true;
  if (engine.mend_pieces_left > 0) {
    --engine.mend_pieces_left;
    MendAfterFork(engine, piece);
  }
  for (int attempt = 0; attempt < 2; ++attempt) {
    FillTable(engine, piece, target);
    for (uint64_t i = 0; attempt > 0 && i < pages; ++i)
      if (batch.state[i] == PageState::kWanted && !Curable(why[i]))
        batch.state[i] = PageState::kNotWanted;
    going_on = MoveBatch(engine);
    bool again = false, busy = false;
    for (uint64_t i = 0; i < pages; ++i) {
      if (batch.state[i] == PageState::kNotWanted) continue;
      state[i] = batch.state[i] == PageState::kWanted ? PageState::kRefused : batch.state[i];
      why[i] = batch.state[i] == PageState::kWanted ? Why::kOwnPathRefused : batch.why[i];
      if (state[i] != PageState::kRefused) why[i] = Why::kNone;
      again = again || Curable(why[i]);
      busy = busy || why[i] == Why::kBusy;
    }
    if (busy) engine.mend_pieces_left = kPiecesMendedAfterBusy;
    if (!again || !going_on) break;
    if (attempt == 0) MendAfterFork(engine, piece);
  }
  return going_on;
}

// Books what became of each page of one target; what the own path did not move goes to the kernel
// path, where there is one for it.
void Settle(Engine& engine, const Piece& piece, int16_t target, const PageState* state,
            const Why* why) {
  const uint64_t step = piece.huge ? kPagesPerHuge : 1;
  const bool kernel_path = engine.job->kernel_path && !engine.job->placement.same && target >= 0;
  const uint64_t pages = piece.range.length / kPageBytes;
  for (uint64_t i = 0; i < pages;) {
    if (piece.target[i] != target) {
      ++i;
      continue;
    }
    uint64_t end = i + 1;  // pages of one fate are booked together
    while (end < pages && piece.target[end] == target && state[end] == state[i] &&
           why[end] == why[i])
      ++end;
    const uint64_t address = piece.range.start + i * kPageBytes, count = end - i;
    const bool moved =
        state[i] == PageState::kRemapped || (state[i] == PageState::kRestored && target < 0);
    if (moved) {
      engine.result->moved_own_path += count;
      Book(engine, address, count, Outcome::kMoved, Why::kNone);
    } else if (state[i] == PageState::kDropped || state[i] == PageState::kWithdrawn) {
      Book(engine, address, count, Outcome::kGone, Why::kNone);
    } else {
      const Why cause = state[i] == PageState::kRestored ? Why::kMappingChanged : why[i];
      if (!kernel_path) Book(engine, address, count, Outcome::kNotMoved, cause);
      for (uint64_t k = 0; kernel_path && k < count; k += step)
        KernelPathAdd(engine, address + k * kPageBytes, count - k < step ? count - k : step, target,
                      cause);
    }
    i = end;
  }
}

// Books what needs no move, and all targets' pages one after another.
struct PieceMover {
  Engine& engine;
  Piece piece;
  PageState state[kBatchPagesMax];
  Why why[kBatchPagesMax];

  void Move() {
    const uint64_t pages = piece.range.length / kPageBytes;
    for (uint64_t i = 0; i < pages; ++i) {
      const uint64_t address = piece.range.start + i * kPageBytes;
      if (piece.target[i] == Piece::kThereAlready)
        Book(engine, address, 1, Outcome::kAlreadyThere, Why::kNone);
      if (piece.target[i] == Piece::kCutHuge)
        Book(engine, address, 1, Outcome::kNotMoved, Why::kPartOfHuge);
      if (piece.target[i] != Piece::kAnywhere && piece.target[i] < 0) continue;
      bool seen = false;  // few targets: look back
      for (uint64_t k = 0; k < i && !seen; ++k) seen = piece.target[k] == piece.target[i];
      if (!seen) MoveTo(piece.target[i]);
    }
  }

  void MoveTo(int16_t target) {
    const uint64_t pages = piece.range.length / kPageBytes;
    const bool refused = engine.result->own_path_trouble != Trouble::kNone || !engine.job->own_path;
    const Why cause = piece.not_own != Why::kNone ? piece.not_own : Why::kOwnPathRefused;
    for (uint64_t i = 0; i < pages; ++i) state[i] = PageState::kRefused, why[i] = cause;
    if (!refused && piece.not_own == Why::kNone) {
      if (engine.marks.overflowed())
        engine.result->own_path_trouble = Trouble::kDiscards;
      else
        (void)TryOwnPath(engine, piece, target, state, why);
    }
    Settle(engine, piece, target, state, why);
  }
};

// Migrator and threads of one job.
class Crew {
 public:
  Crew(Engine& engine, const Job& job)
      : engine_(engine), job_(job), serial_(engine.copy), threads_(engine.copy, engine.threads) {
    engine.migrator = &serial_;
    if (job.own_path) Start();
  }
  ~Crew() {
    Stop();
    engine_.migrator = nullptr;
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  void Restart() {
    if (!running_) return;
    Stop();
    Start();
  }

 private:
  void Start() {
    engine_.fault_thread_stops.store(false, std::memory_order_relaxed);
    if (engine_.threads.Start(FaultThread, &engine_) != Errno::kOk) {
      engine_.result->own_path_trouble = Trouble::kNoThreads;
      return;
    }
    running_ = true;
    if (job_.engine != CopyEngine::kThreads) return;
    // Fewer helpers than asked for are no trouble: the caller copies what they do not.
    (void)threads_.Start(job_.copy_threads - 1);
    engine_.migrator = &threads_;
  }
  void Stop() {
    if (!running_) return;
    StopFaultThread(engine_);
    threads_.Stop();
    engine_.threads.JoinAll();
    running_ = false;
  }

  Engine& engine_;
  const Job& job_;
  bool running_ = false;
  migrators::Serial serial_;
  migrators::ThreadsMigrator threads_;
};

// Walks the pieces. `mover` is large, so it stands in the engine's memory, not on a stack.
void MovePieces(Engine& engine, Crew& crew, PieceMover& mover) {
  Collector collector(engine);
  engine.result->pages_estimated = collector.Estimate();
  while (engine.result->ended_by == Trouble::kNone) {
    const Next next = engine.observer->GoOn(*engine.result);
    if (next == Next::kStop) engine.result->ended_by = Trouble::kCancelled;
    if (next == Next::kStop) break;
    if (next == Next::kRestartThreads) crew.Restart();
    if (!collector.Next(&mover.piece)) break;
    if (engine.job->own_path && engine.result->own_path_trouble == Trouble::kNone &&
        engine.result->batches % kMappingsCheckedEvery == 0)
      CheckMappings(engine);
    mover.Move();
  }
  KernelPathFlush(engine);
  if (collector.error() == Errno::kNoProcess)
    engine.result->ended_by = Trouble::kTargetVanished;
  else if (collector.error() != Errno::kOk) {
    engine.result->ended_by = Trouble::kProcess;
    engine.result->ended_detail = static_cast<uint32_t>(collector.error());
  }
}

// The first request on a kernel that the table does not know yet.
void CheckItself(Engine& engine) {
  if (engine.self_test_due) engine.self_test_failed = SelfTest(engine.kernel);
  engine.self_test_due = false;
  if (engine.self_test_failed == SelfTestStep::kNone) return;
  engine.result->own_path_trouble = Trouble::kSelfTest;
  engine.result->own_path_detail = static_cast<uint32_t>(engine.self_test_failed);
}

}  // namespace

void RunJob(Engine& engine, const Job& job, Observer& observer, JobResult* result) {
  const uint64_t begin_ns = engine.kernel.NowNs();
  engine.job = &job;
  engine.result = result;
  engine.observer = &observer;
  engine.headroom = Headroom();
  engine.kernel_count = 0;
  for (uint64_t& given : engine.spread_given) given = 0;
  const auto room = engine.kernel.Map(RoundUp(sizeof(PieceMover), kPageBytes));
  if (!room.has_value()) {
    result->ended_by = Trouble::kNoMemory;
    return;
  }
  const uint32_t own_before = engine.own_count;
  AddOwn(engine, {*room, RoundUp(sizeof(PieceMover), kPageBytes)});
  (void)engine.kernel.Advise({*room, RoundUp(sizeof(PieceMover), kPageBytes)}, Advice::kDontFork);
  auto* mover = reinterpret_cast<PieceMover*>(*room);
  // Making and joining threads takes a lock of libc's that a setuid holds while it waits for us.
  engine.threads.AllowIdentitySignal(true);
  if (job.own_path) CheckItself(engine);
  if (job.own_path) StandBack(engine);
  {
    Crew crew(engine, job);
    MovePieces(engine, crew, *new (mover) PieceMover{engine, {}, {}, {}});
  }
  engine.kernel.Unmap({*room, RoundUp(sizeof(PieceMover), kPageBytes)});
  engine.own_count = own_before;
  result->wall_ns = engine.kernel.NowNs() - begin_ns;
  engine.job = nullptr;
  engine.observer = nullptr;
}

}  // namespace drover::flow
