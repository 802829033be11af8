#include "flow/events.h"

namespace drover::flow {
namespace {

using kernel::Errno;
using kernel::Message;

void NoteWaiter(Engine& engine, uint64_t page_index, int32_t thread) {
  // A waiter with a signal pending faults again and again: only its first fault counts.
  for (uint32_t i = 0; i < engine.waiter_count; ++i)
    if (engine.waiters[i].page_index == page_index && engine.waiters[i].thread == thread) return;
  if (engine.waiter_count == kWaitersMax) return;
  // It came after the queue was last seen empty, and it cannot have waited before the window.
  uint64_t since_ns = engine.queue_empty_ns;
  if (since_ns < engine.batch.opened_ns) since_ns = engine.batch.opened_ns;
  engine.waiters[engine.waiter_count++] = {page_index, thread, since_ns};
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
    engine.marks.Remove(message.address);  // it was absent: what was thrown away is gone
    return true;
  }
  // kExists (somebody was faster), or the mapping is gone: the thread looks for itself.
  (void)engine.kernel.Wake({message.address, kPageBytes});
  return true;
}

void FillChild(Engine& engine, int child) {
  const Batch& batch = engine.batch;
  for (uint64_t i = 0; RuleHolds(Rule::kFillChildren) && i < batch.page_count; ++i) {
    if (batch.state[i] != PageState::kIsolated) continue;
    Errno error;
    // kAgain: the fork that made the child is still under way.
    do error = engine.kernel.CopyPage(child, batch.address[i], batch.area + i * kPageBytes);
    while (error == Errno::kAgain);
    if (error == Errno::kOk) ++engine.result->children_filled;
  }
  engine.kernel.CloseChild(child);  // wakes the child, so only after its last hole is filled
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
        FillChild(engine, message.child);
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
    engine.kernel.WaitForMessage();
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
