#include "flow/flow.h"

#include <new>
#include <optional>

#include "flow/again.h"
#include "flow/background.h"
#include "flow/crew.h"
#include "flow/events.h"
#include "flow/exchange.h"
#include "flow/fork_guard.h"
#include "flow/gather.h"
#include "flow/kernel_path.h"
#include "flow/phases.h"
#include "flow/piece.h"
#include "flow/reuse.h"
#include "flow/runs.h"
#include "flow/stand_back.h"
#include "flow/status.h"
#include "flow/table.h"
#include "flow/unlike.h"
#include "flow/untouched.h"
#include "flow/verify.h"

namespace drover::flow {
namespace {

using kernel::Advice;
using kernel::Errno;

// Where a batch had its pages.
struct Spots {
  uint64_t area, pool, other_pool, length;
};

// Is a target left in the pool that was made as its page was copied to it? One whose page went
// back, or has another target.
bool AnyLeft(const Batch& batch, uint64_t length) {
  const uint64_t count = length / kPageBytes;
  return batch.has_others || FindNext(batch.state, 0, count, PageState::kRestored) < count ||
         FindNext(batch.state, 0, count, PageState::kDropped) < count;
}

// Frees what a batch has left: originals in the area, unused pages in the pool. Targets that a late
// copy engine has are not freed before it answers.
void FreeAreas(Engine& engine, const Spots& spots, bool keep_area) {
  const PhaseTimer timer(engine, Phase::kRelease);
  if (!RuleHolds(Rule::kFreeOriginals))
    for (uint64_t i = 0; i < spots.length / kPageBytes; ++i)
      if (engine.batch.state[i] == PageState::kRemapped)
        engine.copy.small(spots.area + i * kPageBytes, engine.spare_page, kPageBytes);
  const auto free = [&](uint64_t start) {
    (void)engine.kernel.Advise({start, spots.length}, Advice::kDontNeed);
  };
  const bool held = engine.first_areas_held && engine.batch.for_engines();
  const Range area{spots.area, spots.length}, pool{spots.pool, spots.length};
  if (engine.batch.ground == Ground::kBerth) {
    if (engine.batch.fills && !held && AnyLeft(engine.batch, spots.length)) free(spots.pool);
    engine.background->GiveBack(area, pool, held);
  } else if (!KeepForReuse(engine, area, pool, held)) {
    if (!keep_area) free(spots.area);
    if (!held) free(spots.pool);
  }
  if (engine.batch.has_others) free(spots.other_pool);
}

// Whether the mover has had its CPU all the time.
class Watch {
 public:
  explicit Watch(kernel::Kernel& kernel)
      : kernel_(kernel),
        switches_(kernel.CountSwitches()),
        begin_ns_(kernel.NowNs()),
        cpu_ns_(kernel.ThreadCpuNs()) {}

  // To another thread, or to the host of this machine: what is stolen is no CPU time of the
  // thread's, and no switch. Time in which it slept by itself is not lost; and a switch to the
  // engine's own fault thread, which takes a few microseconds, is no excuse.
  bool HasLostCpu() const {
    const uint64_t cpu_ns = kernel_.ThreadCpuNs() - cpu_ns_, all_ns = kernel_.NowNs() - begin_ns_;
    const kernel::Switches now = kernel_.CountSwitches();
    const bool slept = now.voluntary != switches_.voluntary;
    const bool switched = now.involuntary != switches_.involuntary;
    return all_ns > cpu_ns + kLostCpuNs && (switched || !slept);
  }

 private:
  kernel::Kernel& kernel_;
  const kernel::Switches switches_;
  const uint64_t begin_ns_, cpu_ns_;
};

void NoteWindow(Engine& engine, bool preempted) {
  const Batch& batch = engine.batch;
  if (batch.window.pages == 0) return;
  engine.observer->WindowClosed(batch.live, batch.window, preempted);
  if (preempted) {
    ++engine.result->windows_preempted;
    return;
  }
  if (engine.budget.IsTooLong(batch.window.length_ns)) ++engine.result->windows_over_budget;
  // One in which much had to be copied after all is not what others will be; nor is the verifier's.
  const bool usual = engine.instead == nullptr &&
                     !(batch.precopied && WriteRate::IsHigh(batch.changed, batch.window.pages));
  if (usual)
    engine.budget.NoteWindow(batch.huge, batch.window.pages / batch.folio_pages(),
                             batch.window.length_ns);
}

}  // namespace

bool MoveBatch(Engine& engine) {
  Batch& batch = engine.batch;
  const Spots spots{batch.area, batch.pool, batch.other_pool, batch.live.length};
  Prepare(engine);
  const bool left = !CopyAhead(engine);
  if (left || (RuleHolds(Rule::kGate) && !CloseGate(engine))) {
    CloseTable(engine);
    FreeAreas(engine, spots, false);
    return left;
  }
  engine.threads.AllowIdentitySignal(false);
  const bool found =
      engine.control_blocks.Find(engine.kernel, engine.layout, engine.young) == Errno::kOk;
  if (!found) engine.result->own_path_trouble = Trouble::kThreadsHidden;
  bool kept = false;
  bool going_on = found && !HasSeenReason(engine);
  if (going_on && engine.dont_fork_changed != nullptr && engine.dont_fork_changed->load() != 0)
    going_on = FindDontFork(engine);
  // What it has begun, under the mmap lock, the registration waits for, and so not the window.
  if (engine.background != nullptr) engine.background->HoldBack(true);
  if (going_on && OpenBatch(engine)) {
    if (RuleHolds(Rule::kPinMover)) engine.kernel.PinThread();
    const Watch watch(engine.kernel);
    Isolate(engine);
    Copy(engine);
    if (engine.verifier != nullptr) engine.verifier->Compare();
    Remap(engine);
    NoteWindow(engine, watch.HasLostCpu());
    engine.kernel.UnpinThread();
    Release(engine);
    TallyCopies(engine);
    kept = engine.verifier != nullptr && engine.verifier->Keep();
    ++engine.result->batches;
    if (batch.alone) ++engine.result->batches_alone;
  }
  if (engine.background != nullptr) engine.background->HoldBack(false);
  if (RuleHolds(Rule::kGate)) engine.gate.Open();
  engine.threads.AllowIdentitySignal(true);
  CloseTable(engine);
  if (EnginesHoldAddresses(engine)) engine.first_areas_held = true;
  FreeAreas(engine, spots, kept);
  return going_on;
}

namespace {

// What a job needs; large, so it stands in the engine's memory, not on a stack.
struct Desk {
  Desk(Engine& engine, const Job& job)
      : gatherer(engine), crew(engine, job), mover(engine), aside(engine) {}
  Gatherer gatherer;
  Crew crew;
  PieceMover mover;
  PutAside aside;
};

// False: the job ends at this boundary.
bool GoesOn(Engine& engine, Crew& crew) {
  if (engine.result->ended_by != Trouble::kNone) return false;
  Next next;
  while ((next = engine.observer->GoOn(*engine.result)) == Next::kRestartThreads) crew.Restart();
  if (next == Next::kStop) engine.result->ended_by = Trouble::kCancelled;
  return next != Next::kStop;
}

// The memory could not be walked on.
void NoteError(Engine& engine, Errno error) {
  if (error == Errno::kOk || engine.result->ended_by != Trouble::kNone) return;
  engine.result->ended_by =
      error == Errno::kNoProcess ? Trouble::kTargetVanished : Trouble::kProcess;
  if (error != Errno::kNoProcess) engine.result->ended_detail = static_cast<uint32_t>(error);
}

// Nothing is registered or absent meanwhile. False: the job ends here.
bool Pause(Engine& engine, Crew& crew, uint64_t pause_ns) {
  const uint64_t end_ns = engine.kernel.NowNs() + pause_ns;
  for (uint64_t now = engine.kernel.NowNs(); now < end_ns; now = engine.kernel.NowNs()) {
    if (!GoesOn(engine, crew)) return false;
    if (engine.foreign) {  // it may end meanwhile
      const auto any = engine.kernel.NextMapping(0);
      if (!any.has_value()) {
        NoteError(engine, any.error() == Errno::kNoEntry ? Errno::kNoProcess : any.error());
        return false;
      }
    }
    const threads::Word nothing = 0;
    engine.threads.Wait(nothing, 0, end_ns - now < kPauseStepNs ? end_ns - now : kPauseStepNs);
  }
  return true;
}

Throttle::Used UsedBy(Engine& engine) {
  const JobResult& result = *engine.result;
  const uint64_t behind = engine.job->GathersFirst() ? 0 : result.pages_gathered;
  return {engine.kernel.NowNs(), engine.kernel.ThreadCpuNs(), result.pages_moved + behind};
}

// How much of the job's time is left.
uint64_t TimeLeftNs(Engine& engine) {
  if (engine.time_is_up_ns == 0) return UINT64_MAX;
  const uint64_t now_ns = engine.kernel.NowNs();
  return now_ns < engine.time_is_up_ns ? engine.time_is_up_ns - now_ns : 0;
}

// Waits where the job takes more than it may.
void KeepPace(Engine& engine, Crew& crew) {
  if (!engine.throttle.is_bounded()) return;
  uint64_t wait_ns = engine.throttle.WaitNs(UsedBy(engine));
  if (const uint64_t left_ns = TimeLeftNs(engine); wait_ns > left_ns) wait_ns = left_ns;
  if (wait_ns > 0) (void)Pause(engine, crew, wait_ns);
}

// Moves what the source hands out, piece by piece. `next_check`: in batches; a plan adds no
// mappings, and is checked once.
template <class Source>
void MovePieces(Engine& engine, Crew& crew, PieceMover& mover, Source& source,
                uint64_t* next_check) {
  while (GoesOn(engine, crew) && source.Next(&mover.piece)) {
    if (engine.job->own_path && engine.result->own_path_trouble == Trouble::kNone &&
        engine.result->batches >= *next_check) {
      CheckMappings(engine);
      *next_check =
          engine.job->plan_only ? UINT64_MAX : engine.result->batches + kMappingsCheckedEvery;
    }
    engine.time_is_up = TimeLeftNs(engine) == 0;
    mover.Move();
    KeepPace(engine, crew);
  }
  KernelPathFlush(engine);
  KeepPace(engine, crew);
}

// The walk, and the rounds after it for what was busy.
void MoveAll(Engine& engine, Crew& crew, PieceMover& mover, PutAside& aside) {
  uint64_t next_check = 0;
  const auto walk = [&](auto&& source) {
    engine.result->pages_estimated = source.Estimate();
    MovePieces(engine, crew, mover, source, &next_check);
    NoteError(engine, source.error());
  };
  if (engine.job->exchange.on)
    walk(Exchanger(engine));
  else
    walk(Collector(engine));
  while (engine.result->ended_by == Trouble::kNone && !engine.time_is_up && aside.BeginRound()) {
    if (engine.verifier != nullptr) engine.verifier->JudgeAll();  // late writes do not wait
    if (!Pause(engine, crew, aside.PauseNs())) break;
    MovePieces(engine, crew, mover, aside, &next_check);
    NoteError(engine, aside.error());
  }
  aside.GiveUp();
}

// While it is at its turn.
class Gathering {
 public:
  Gathering(Engine& engine, Gatherer& gatherer) : engine_(engine) {
    engine.gatherer = &gatherer;
    gatherer.Begin();
  }
  ~Gathering() { NoteError(engine_, engine_.gatherer->error()); }
  Gathering(const Gathering&) = delete;
  Gathering& operator=(const Gathering&) = delete;

 private:
  Engine& engine_;
};

// What is where it is to be becomes huge there.
void GatherAll(Engine& engine, Crew& crew, Gatherer& gatherer) {
  const Job& job = *engine.job;
  if (job.page_size == PageSize::kKeep || job.plan_only || job.GathersFirst()) return;
  const Gathering gathering(engine, gatherer);
  while (engine.result->ended_by == Trouble::kNone && TimeLeftNs(engine) > 0 &&
         GoesOn(engine, crew) && gatherer.Next())
    KeepPace(engine, crew);
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
  const migrators::CopyFunctions house_copy = engine.copy;
  engine.copy = FunctionsOf(job.copy_ways, house_copy);
  engine.headroom = Headroom();
  engine.budget.Begin(job);
  engine.write_rate = {};
  engine.throttle.Begin(job, UsedBy(engine));
  (void)engine.gate.TakeWaits();  // of before
  engine.time_is_up_ns = job.time_ns > 0 && !job.plan_only ? begin_ns + job.time_ns : 0;
  engine.time_is_up = false;
  uint64_t huge_enabled = 1;  // Linux 5.0
  engine.huge_disabled =
      StatusNumber(engine.kernel, "THP_enabled:", &huge_enabled) && huge_enabled == 0;
  engine.reused = {};
  engine.kernel_chunk = {};
  engine.kernel_count = 0;
  engine.kernel_page_count = 0;
  for (EngineTally& counted : engine.counted) counted = {};
  engine.again.count = 0;
  for (uint64_t& given : engine.spread_given) given = 0;
  constexpr uint64_t kRoomBytes = RoundUp(sizeof(Desk), kPageBytes);
  const auto room = engine.kernel.Map(kRoomBytes);
  if (!room.has_value()) {
    engine.copy = house_copy;
    result->ended_by = Trouble::kNoMemory;
    return;
  }
  AddOwn(engine, {*room, kRoomBytes});
  (void)engine.kernel.Advise({*room, kRoomBytes}, Advice::kDontFork);
  // Making and joining threads takes a lock of libc's that a setuid holds while it waits for us.
  engine.threads.AllowIdentitySignal(true);
  if (job.own_path) CheckItself(engine);
  if (job.own_path) StandBack(engine);
  if (job.own_path && result->own_path_trouble == Trouble::kNone) (void)FindDontFork(engine);
  StartUnlike(engine);
  const bool own_path =
      job.own_path && !job.plan_only && result->own_path_trouble == Trouble::kNone;
  if (own_path) {
    result->copied_through = ChooseCopy(engine);
    engine.budget.MeasureStep(engine);
  }
  if (result->own_path_trouble == Trouble::kNone) Background::Make(engine, job);
  {
    auto* desk = new (reinterpret_cast<void*>(*room)) Desk(engine, job);
    engine.helpers_trial.Leave();
    if (own_path && result->copy_threads > 1)
      engine.helpers_trial.Begin(job, result->copy_threads, result->copied_through);
    if (job.verify && !job.plan_only && job.own_path &&
        result->own_path_trouble == Trouble::kNone && !Verifier::Make(engine))
      result->own_path_trouble = Trouble::kNoMemory;
    {
      std::optional<Gathering> gathering;
      if (job.GathersFirst()) gathering.emplace(engine, desk->gatherer);
      MoveAll(engine, desk->crew, desk->mover, desk->aside);
    }
    if (engine.verifier != nullptr) engine.verifier->JudgeAll();
    GatherAll(engine, desk->crew, desk->gatherer);
    desk->~Desk();
    engine.gatherer = nullptr;
    FreeReused(engine);
    // No thread reads or writes there any more.
    Verifier::Unmake(engine);
    Background::Unmake(engine);
  }
  if (result->not_moved_why[static_cast<uint32_t>(Why::kOverBudget)] > 0)
    result->smallest_budget_ns = engine.budget.SmallestThatWouldDo();
  result->gate_waits = engine.gate.TakeWaits();
  Histogram& of_reason = engine.stalls_of[static_cast<uint32_t>(job.reason)];
  of_reason.AddAll(result->stalls);
  result->stalls_of_reason = of_reason;
  engine.kernel.Unmap({*room, kRoomBytes});
  RemoveOwn(engine, {*room, kRoomBytes});
  result->own_count = 0;
  for (const Range& own : engine.OwnRanges()) result->own[result->own_count++] = own;
  result->wall_ns = engine.kernel.NowNs() - begin_ns;
  engine.copy = house_copy;
  engine.job = nullptr;
  engine.observer = nullptr;
}

}  // namespace drover::flow
