#include "flow/events.h"

namespace drover::flow {
namespace {

using kernel::Errno;
using kernel::Message;

// When a thread whose fault has just been read began to wait: after the queue was last seen empty,
// not before `not_before_ns`, and before now. The kernel does not say when: the middle is off by
// half of that at most, and not to one side.
uint64_t SinceWhen(Engine& engine, uint64_t not_before_ns) {
  const uint64_t from_ns =
      engine.queue_empty_ns > not_before_ns ? engine.queue_empty_ns : not_before_ns;
  const uint64_t now_ns = engine.kernel.NowNs();
  return now_ns > from_ns ? from_ns + (now_ns - from_ns) / 2 : from_ns;
}

void NoteWaiter(Engine& engine, uint64_t page_index, int32_t thread) {
  // A waiter with a signal pending faults again and again: only its first fault counts.
  for (uint32_t i = 0; i < engine.waiter_count; ++i)
    if (engine.waiters[i].page_index == page_index && engine.waiters[i].thread == thread) return;
  if (engine.waiter_count == kWaitersMax) return;
  engine.waiters[engine.waiter_count++] = {page_index, thread,
                                           SinceWhen(engine, engine.batch.window.opened_ns),
                                           engine.phase.load(std::memory_order_relaxed)};
}

// False: a change of mappings is under way, try again after its event.
bool AnswerFault(Engine& engine, const Message& message) {
  const uint64_t i = engine.batch.IndexOf(message.address);
  if (i != Batch::kNone && engine.batch.state[i] == PageState::kIsolated) {
    NoteWaiter(engine, i, message.thread);
    return true;  // the remap wakes it
  }
  if (!RuleHolds(Rule::kAnswerFirstTouch)) return true;
  const Errno error = engine.kernel.ZeroPage(message.address);
  if (error == Errno::kAgain) return false;
  if (error == Errno::kOk) {
    ++engine.result->first_touches;
    engine.result->first_touch_waits.Add(
        engine.kernel.NowNs() -
        SinceWhen(engine, engine.registered_ns.load(std::memory_order_relaxed)));
    engine.marks.Remove(message.address);  // it was absent: what was thrown away is gone
    return true;
  }
  // kExists (somebody was faster), or the mapping is gone: the thread looks for itself.
  (void)engine.kernel.Wake({message.address, kPageBytes});
  return true;
}

void FillChild(Engine& engine, int child, uint32_t generation);

// A child that has changed its mappings, or has forked, before its holes are filled waits until
// that is read here. True: something was read.
bool HearChild(Engine& engine, int child, uint32_t generation) {
  uint64_t* const holes = engine.child_holes[generation];
  bool heard = false;
  for (;; heard = true) {
    const auto read = engine.kernel.ReadChildMessage(child);
    if (!read.has_value()) return heard;
    const Message& message = *read;
    const auto names = [&](uint64_t i) {
      return holes[i] != 0 && holes[i] - message.address < message.length;
    };
    switch (message.kind) {
      case Message::Kind::kRemove:
      case Message::Kind::kUnmap:
        for (uint64_t i = 0; i < engine.batch.page_count; ++i)
          if (names(i)) holes[i] = 0;
        break;
      case Message::Kind::kRemap:
        for (uint64_t i = 0; i < engine.batch.page_count; ++i)
          if (names(i)) holes[i] += message.target - message.address;
        break;
      case Message::Kind::kFork:
        if (generation + 1 < kGenerationsMax) {
          for (uint64_t i = 0; i < engine.batch.page_count; ++i)
            engine.child_holes[generation + 1][i] = holes[i];
          FillChild(engine, message.child, generation + 1);
        } else {
          engine.kernel.CloseChild(message.child, engine.batch.live);
        }
        break;
      case Message::Kind::kFault:
        break;  // filling it, or the close, wakes it
    }
  }
}

// Fills the holes listed for this generation from the originals, and lets the child go.
void FillChild(Engine& engine, int child, uint32_t generation) {
  constexpr uint64_t kNapNs = 20'000;
  const Batch& batch = engine.batch;
  uint64_t* const holes = engine.child_holes[generation];
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    while (holes[i] != 0) {
      const Errno error = engine.kernel.CopyPage(child, holes[i], batch.area + i * kPageBytes);
      if (error == Errno::kOk) ++engine.result->children_filled;
      // No memory just now is no reason to let the child read zeros: as with putting back, without
      // a bound.
      if (error != Errno::kAgain && error != Errno::kNoMemory) break;
      if (HearChild(engine, child, generation)) continue;
      const threads::Word nothing = 0;  // heard, but the child has not gone on yet
      engine.threads.Wait(nothing, 0, kNapNs);
    }
  }
  engine.kernel.CloseChild(child, batch.live);  // wakes it, so only after its last hole is filled
}

// What the application wants wiped in its children (MADV_WIPEONFORK: the state of a random
// generator, for one) is no hole there. Looked up now, because a fork that finds pages away is
// rare, and walks all page tables itself.
void KeepWiped(Engine& engine) {
  const Batch& batch = engine.batch;
  const auto listed = engine.kernel.ListMarked(kernel::Marked::kWipeOnFork, engine.wiped);
  if (!listed.has_value()) return;
  const uint64_t count = *listed < kDontForkRangesMax ? *listed : kDontForkRangesMax;
  for (uint64_t k = 0; k < count; ++k)
    for (uint64_t i = 0; i < batch.page_count; ++i)
      if (engine.wiped[k].Contains(engine.child_holes[0][i])) engine.child_holes[0][i] = 0;
}

void FillFirstChild(Engine& engine, int child) {
  const Batch& batch = engine.batch;
  bool any = false;
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    const bool hole = batch.state[i] == PageState::kIsolated && RuleHolds(Rule::kFillChildren);
    engine.child_holes[0][i] = hole ? batch.address[i] : 0;
    any = any || hole;
  }
  if (any && RuleHolds(Rule::kKeepWiped)) KeepWiped(engine);
  FillChild(engine, child, 0);
}

void Withdraw(Batch& batch, uint64_t i) {
  if (batch.state[i] == PageState::kWanted) batch.state[i] = PageState::kWithdrawn;
}

// munmap: its event comes after it, and names all of what was unmapped, however long.
void HandleUnmap(Engine& engine, const Message& message) {
  Batch& batch = engine.batch;
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    if (batch.address[i] - message.address >= message.length) continue;
    Withdraw(batch, i);
    if (batch.state[i] == PageState::kIsolated && RuleHolds(Rule::kDropDiscarded))
      batch.state[i] = PageState::kDropped;
  }
}

// DONTNEED, FREE and REMOVE raise their event before they discard, one for each registered mapping.
void HandleDiscard(Engine& engine, const Message& message) {
  Batch& batch = engine.batch;
  for (uint64_t page = RoundDown(message.address, kPageBytes);
       page < message.address + message.length; page += kPageBytes) {
    const uint64_t i = batch.IndexOf(page);
    const bool isolated = i != Batch::kNone && batch.state[i] == PageState::kIsolated;
    if (isolated) {
      if (RuleHolds(Rule::kDropDiscarded)) batch.state[i] = PageState::kDropped;
      continue;
    }
    if (i != Batch::kNone) Withdraw(batch, i);
    if (RuleHolds(Rule::kMarkDiscarded)) engine.marks.Add(page);
  }
}

void HandleRemap(Engine& engine, const Message& message) {
  Batch& batch = engine.batch;
  for (uint64_t i = 0; i < batch.page_count; ++i) {
    if (batch.address[i] - message.address >= message.length) continue;
    if (batch.state[i] == PageState::kIsolated)
      batch.address[i] = batch.address[i] - message.address + message.target;
    else
      Withdraw(batch, i);
  }
  // The registration went along with the mapping.
  if (batch.followed_count < kFollowedRangesMax)
    batch.followed[batch.followed_count++] = {message.target, message.length};
  else
    batch.follows_more = true;
}

}  // namespace

void Drain(Engine& engine) {
  Message postponed[kPostponedFaultsMax];
  uint32_t postponed_count = 0;
  for (;;) {
    const auto read = engine.kernel.ReadMessage();
    if (!read.has_value()) break;
    const Message& message = *read;
    switch (message.kind) {
      case Message::Kind::kFault:
        if (AnswerFault(engine, message)) break;
        if (postponed_count < kPostponedFaultsMax)
          postponed[postponed_count++] = message;
        else
          (void)engine.kernel.Wake({message.address, kPageBytes});  // it faults again
        break;
      case Message::Kind::kFork:
        FillFirstChild(engine, message.child);
        break;
      case Message::Kind::kRemap:
        HandleRemap(engine, message);
        break;
      case Message::Kind::kRemove:
        HandleDiscard(engine, message);
        break;
      case Message::Kind::kUnmap:
        HandleUnmap(engine, message);
        break;
    }
  }
  engine.queue_empty_ns = engine.kernel.NowNs();
  for (uint32_t i = 0; i < postponed_count; ++i)
    if (!AnswerFault(engine, postponed[i]))
      (void)engine.kernel.Wake({postponed[i].address, kPageBytes});
}

void FaultThread(void* argument) {
  Engine& engine = *static_cast<Engine*>(argument);
  while (!engine.fault_thread_stops.load(std::memory_order_acquire)) {
    // Asleep it holds nothing that the mover needs: a handler may run, and wait in a hole.
    engine.threads.AllowIdentitySignal(true);
    engine.kernel.WaitForMessage();
    engine.threads.AllowIdentitySignal(false);
    engine.lock.Lock();
    Drain(engine);
    engine.lock.Unlock();
  }
}

void StopFaultThread(Engine& engine) {
  engine.fault_thread_stops.store(true, std::memory_order_release);
  engine.kernel.InterruptWait();
}

}  // namespace drover::flow
