#include "flow/kernel_path.h"

#include "flow/again.h"
#include "flow/kernel_crew.h"

namespace drover::flow {
namespace {

using kernel::Errno;

constexpr int32_t kNotWritten = -1000;  // a status that the kernel never writes

// Does the own path's cause say why the kernel does not move a page either? (That it is of a file,
// say, does not.)
bool HoldsForBoth(Why own) {
  return own == Why::kShared || own == Why::kNoTargetMemory || own == Why::kNoTargetHuge;
}

// The cause of a page's status; `own`: the own path's.
Why WhyOfStatus(int32_t status, Errno call_error, Why own) {
  switch (static_cast<Errno>(-status)) {
    case Errno::kAccess:
      return own == Why::kShared ? own : Why::kSeveralProcesses;
    case Errno::kBusy:
      return HoldsForBoth(own) ? own : Why::kBusy;
    case Errno::kNoMemory:
      return Why::kNoTargetMemory;
    case Errno::kFault:
      return Why::kNotMovable;
    default:
      break;
  }
  if (call_error == Errno::kNoMemory) return Why::kNoTargetMemory;
  return HoldsForBoth(own) || own == Why::kBusy ? own : Why::kKernelRefused;
}

// One call for entries [first, end), which have one target. Returns the first without a status.
uint32_t Send(Engine& engine, uint32_t first, uint32_t end, Errno* error) {
  const uint32_t count = end - first;
  const uint64_t begin_ns = engine.kernel.NowNs();
  const auto left = engine.kernel.MovePages(
      {engine.kernel_address + first, count}, {engine.kernel_target + first, count},
      {engine.kernel_status + first, count},
      engine.job->shared ? kernel::Whose::kAll : kernel::Whose::kOnlyOwn);
  *error = left.has_value() ? Errno::kOk : left.error();
  if (engine.budget.is_limited()) {  // (then the mover is alone)
    uint64_t pages = 0;
    for (uint32_t i = first; i < end; ++i) pages += engine.kernel_pages[i];
    engine.budget.NoteKernelCall(pages, engine.kernel.NowNs() - begin_ns);
  }
  uint32_t tried = first;
  while (tried < end && engine.kernel_status[tried] != kNotWritten) ++tried;
  return tried;
}

// Sends entries [first, count), on any thread; a page that fails can stop the call, so it goes on
// behind what was tried. The engine's list has the error of the last call that failed as a whole.
void SendPart(Engine& engine, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < count; ++i) engine.kernel_status[i] = kNotWritten;
  Errno last = Errno::kOk;
  uint32_t single_steps = 0;
  while (first < count) {
    // The kernel works off one target at a time, and stops where a page of it has failed.
    uint32_t end = first + 1;
    while (end < count && engine.kernel_target[end] == engine.kernel_target[first]) ++end;
    const uint32_t tried = Send(engine, first, end, &last);
    if (tried > first) {
      first = tried;
      continue;
    }
    // A batch with a page that fails comes back without any status: the first page by itself, then
    // on behind it. A call that was refused as a whole would be refused again.
    if (last != Errno::kOk || ++single_steps > kKernelSingleStepsMax) {
      first = end;
      continue;
    }
    (void)Send(engine, first, first + 1, &last);
    if (engine.kernel_status[first] == kNotWritten)
      engine.kernel_status[first] = -static_cast<int32_t>(Errno::kBusy);
    ++first;
  }
  if (last != Errno::kOk) engine.kernel_error.store(last);
}

// What the mover and its helpers take, part by part.
struct Parts {
  Engine& engine;
  uint32_t count, length;
  std::atomic<uint32_t> next = 0;

  static void Take(void* self) {
    auto& [engine, count, length, next] = *static_cast<Parts*>(self);
    for (uint32_t first; (first = next.fetch_add(length)) < count;)
      SendPart(engine, first, first + length < count ? first + length : count);
  }
};

Errno SendAll(Engine& engine) {
  const uint32_t count = engine.kernel_count, helpers = engine.kernel_crew->helpers();
  const uint64_t begin_ns = engine.kernel.NowNs();
  engine.kernel_error.store(Errno::kOk);
  // Small parts, so that nobody waits long for the last of them.
  uint32_t length = helpers == 0 ? count : count / (2 * (helpers + 1));
  if (length < kKernelPartLeast) length = kKernelPartLeast;
  Parts parts{engine, count, length};
  if (count > length) engine.kernel_crew->Begin(Parts::Take, &parts, helpers);
  Parts::Take(&parts);
  engine.kernel_crew->End();
  engine.kernel_chunk.Note(count, engine.kernel_page_count, engine.kernel.NowNs() - begin_ns);
  return engine.kernel_error.load();
}

}  // namespace

void Book(Engine& engine, uint64_t address, uint64_t pages, int32_t target, Outcome outcome,
          Why why) {
  if (pages == 0) return;
  JobResult& result = *engine.result;
  result.pages_requested += pages;
  switch (outcome) {
    case Outcome::kMoved:
      result.pages_moved += pages;
      break;
    case Outcome::kAlreadyThere:
      result.pages_already_there += pages;
      break;
    case Outcome::kGone:
      result.pages_gone += pages;
      break;
    case Outcome::kNotMoved:
      result.pages_not_moved += pages;
      result.not_moved_why[static_cast<uint32_t>(why)] += pages;
      break;
  }
  engine.observer->PagesDone(address, pages, target, outcome, why);
}

void KernelPathFlush(Engine& engine) {
  const uint32_t count = engine.kernel_count;
  if (count == 0) return;
  const PhaseTimer timer(engine, Phase::kKernel);
  const Errno error = SendAll(engine);
  const bool known =
      engine.kernel.QueryNodes({engine.kernel_address, count}, {engine.nodes, count}) == Errno::kOk;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t pages = engine.kernel_pages[i];
    const int32_t node = known ? engine.nodes[i] : kNotWritten;
    if (node == engine.kernel_target[i]) {
      engine.result->moved_kernel_path += pages;
      Book(engine, engine.kernel_address[i], pages, engine.kernel_target[i], Outcome::kMoved,
           Why::kNone);
    } else if (node == -static_cast<int32_t>(Errno::kNoEntry) || error == Errno::kNoProcess) {
      Book(engine, engine.kernel_address[i], pages, engine.kernel_target[i], Outcome::kGone,
           Why::kNone);
    } else {
      SettleNotMoved(engine, engine.kernel_address[i], pages, engine.kernel_target[i],
                     pages == kPagesPerHuge,
                     WhyOfStatus(engine.kernel_status[i], error, engine.kernel_why[i]));
    }
  }
  engine.kernel_count = 0;
  engine.kernel_page_count = 0;
  if (error == Errno::kNoProcess) engine.result->ended_by = Trouble::kTargetVanished;
}

void KernelPathAdd(Engine& engine, uint64_t address, uint64_t pages, int32_t target, Why why) {
  if (engine.budget.IsFull(engine.kernel_page_count, pages) ||
      (engine.kernel_count > 0 && engine.kernel_page_count + pages > kKernelChunkPages))
    KernelPathFlush(engine);
  const uint32_t i = engine.kernel_count++;
  engine.kernel_page_count += pages;
  engine.kernel_address[i] = address;
  engine.kernel_pages[i] = static_cast<uint32_t>(pages);
  engine.kernel_target[i] = target;
  engine.kernel_why[i] = why;
  if (engine.kernel_count >= engine.kernel_chunk.folios()) KernelPathFlush(engine);
}

}  // namespace drover::flow
