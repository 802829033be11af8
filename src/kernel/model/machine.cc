#include "kernel/model/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace drover::kernel::model {

std::unique_lock<std::mutex> Machine::Enter(Call call) {
  std::unique_lock lock(mutex);
  const uint64_t nth = ++calls[static_cast<int>(call)];
  ++calls_total;
  if (hook) {
    const auto run = hook;  // the hook lets the application act, which locks
    lock.unlock();
    run(call, nth);
    lock.lock();
  }
  for (size_t i = 0; i < discards.size();) {
    if (discards[i].calls_left-- > 0) {
      ++i;
      continue;
    }
    const PendingDiscard due = discards[i];
    discards.erase(discards.begin() + static_cast<std::ptrdiff_t>(i));
    FinishDiscard(due);
  }
  return lock;
}

Access Machine::Touch(uint64_t address, bool write) {
  const Vma* vma = space.Find(address);
  if (vma == nullptr || !(write ? vma->attributes.writable : vma->attributes.readable))
    return Access::kKilled;
  Page* page = space.Find4K(address);
  if (page == nullptr) {
    const bool watched =
        (vma->attributes.registered & static_cast<uint64_t>(RegisterMode::kMissing)) != 0;
    if (watched) return Access::kWaits;
    if (write || vma->attributes.file || vma->attributes.shared)
      return Fill(*vma, RoundDown(address, kPageBytes), write) ? Access::kDone : Access::kKilled;
    // A read gets the zero page, and a huge one where a huge page would fit.
    const bool huge = space.HugeFits(*vma, address);
    const uint64_t first = huge ? AddressSpace::Slot(address) : RoundDown(address, kPageBytes);
    for (uint32_t i = 0; i < (huge ? kPagesPerHuge : 1); ++i)
      space.Put(first + i * kPageBytes, {Page::Kind::kZero, huge, false, i, nullptr});
    return Access::kDone;
  }
  switch (page->kind) {
    case Page::Kind::kGuard:
      return Access::kKilled;
    case Page::Kind::kSwapped:
      page->kind = Page::Kind::kAnonymous;
      break;
    case Page::Kind::kZero:
      if (!write) return Access::kDone;
      space.SplitEntry(address);
      return Fill(*vma, RoundDown(address, kPageBytes), write) ? Access::kDone : Access::kKilled;
    case Page::Kind::kFile:
      if (!write || vma->attributes.shared) return Access::kDone;
      return CopyOnWrite(*vma, address) ? Access::kDone : Access::kKilled;
    case Page::Kind::kAnonymous:
      break;
  }
  if (write && !page->exclusive && !CopyOnWrite(*vma, address)) return Access::kKilled;
  return Access::kDone;
}

bool Machine::Fill(const Vma& vma, uint64_t address, bool write) {
  const int32_t preferred = vma.attributes.preferred_node;
  const int32_t node = preferred >= 0 ? preferred : local_node;
  if (huge_pages_left && space.Find4K(address) == nullptr && space.HugeFits(vma, address)) {
    if (const auto folio = space.Allocate(node, kPagesPerHuge)) {
      for (uint32_t i = 0; i < kPagesPerHuge; ++i)
        space.Put(AddressSpace::Slot(address) + i * kPageBytes,
                  {Page::Kind::kAnonymous, true, true, i, folio});
      return true;
    }
  }
  const auto folio = space.Allocate(node, 1);
  if (folio == nullptr) {
    Complain("out of memory: the kernel would kill a process");
    return false;
  }
  // A write to a private mapping of a file gets a copy at once.
  const bool own = vma.attributes.anonymous() || (write && !vma.attributes.shared);
  const auto kind = own ? Page::Kind::kAnonymous : Page::Kind::kFile;
  space.Put(address, {kind, false, own, 0, folio});
  return true;
}

bool Machine::CopyOnWrite(const Vma& vma, uint64_t address) {
  const uint64_t start = RoundDown(address, kPageBytes);
  Page* page = space.Find4K(start);
  const bool alone = page->kind == Page::Kind::kAnonymous && page->folio->children == 0;
  if (alone) {  // the child is gone: the page is taken back as it is, a huge one as a whole
    const Range whole =
        page->huge ? Range{AddressSpace::Slot(start), kHugeBytes} : Range{start, kPageBytes};
    space.ForEachPage(whole, [](uint64_t, Page& each) { each.exclusive = true; });
    return true;
  }
  const int32_t preferred = vma.attributes.preferred_node;
  const auto folio = space.Allocate(preferred >= 0 ? preferred : local_node, 1);
  if (folio == nullptr) return false;
  space.SplitEntry(start);
  space.Put(start, {Page::Kind::kAnonymous, false, true, 0, folio});
  return true;
}

bool Machine::StillChanging() {
  if (!events.empty()) return true;
  if (lingering == 0) return false;
  --lingering;
  return true;
}

uint64_t Machine::UnreadMessages() const {
  return events.size() +
         static_cast<uint64_t>(std::count_if(faults.begin(), faults.end(),
                                             [](const Fault& fault) { return !fault.read; }));
}

uint64_t Machine::NewAction() {
  const uint64_t action = actions.size() + 1;
  actions[action] = ActionState::kWaiting;
  return action;
}

void Machine::Finish(uint64_t action, ActionState state) {
  actions[action] = state;
  changed.notify_all();
}

void Machine::QueueEvent(uint64_t action, const Message& message) {
  events.push_back({action, message});
  changed.notify_all();
}

void Machine::QueueFault(const Fault& fault) {
  faults.push_back(fault);
  changed.notify_all();
}

void Machine::WakeRange(Range range) {
  std::vector<Fault> woken;
  for (auto it = faults.begin(); it != faults.end();) {
    if (!range.Contains(it->address)) {
      ++it;
      continue;
    }
    woken.push_back(*it);
    it = faults.erase(it);  // a message that nobody has read goes with its waiter
  }
  for (Fault& fault : woken) {
    switch (Touch(fault.address, fault.write)) {
      case Access::kDone:
        Finish(fault.action, ActionState::kDone);
        break;
      case Access::kKilled:
        Finish(fault.action, ActionState::kKilled);
        break;
      case Access::kWaits:
        fault.read = false;
        QueueFault(fault);
        break;
    }
  }
}

// Faults come before events, as in fs/userfaultfd.c, userfaultfd_ctx_read.
Result<Message> Machine::NextMessage() {
  for (Fault& fault : faults) {
    if (fault.read) continue;
    fault.read = true;
    Message message;
    message.kind = Message::Kind::kFault;
    message.address = RoundDown(fault.address, kPageBytes);
    message.thread = fault.thread;
    return message;
  }
  if (events.empty()) return std::unexpected(Errno::kAgain);
  Event event = events.front();
  events.pop_front();
  lingering = linger_moves;
  switch (event.message.kind) {
    case Message::Kind::kRemove: {
      const PendingDiscard discard{
          event.action, {event.message.address, event.message.length}, discard_delay_calls};
      if (discard_delay_calls == 0)
        FinishDiscard(discard);
      else
        discards.push_back(discard);
      break;
    }
    case Message::Kind::kFork: {
      Child& child = children.at(event.action);
      child.userfault = event.message.child = next_descriptor++;
      child.closed = false;
      Finish(event.action, ActionState::kDone);
      break;
    }
    default:
      Finish(event.action, ActionState::kDone);
      break;
  }
  return event.message;
}

void Machine::FinishDiscard(const PendingDiscard& discard) {
  space.Discard(discard.range);
  // One madvise over several mappings raises one event for each.
  const bool more =
      std::any_of(events.begin(), events.end(),
                  [&](const Event& event) { return event.action == discard.action; }) ||
      std::any_of(discards.begin(), discards.end(),
                  [&](const PendingDiscard& d) { return d.action == discard.action; });
  if (!more) Finish(discard.action, ActionState::kDone);
}

void Machine::Land(const ForeignWrite& write) {
  bool found = false;
  space.ForEachPage({0, ~uint64_t{0}}, [&](uint64_t address, Page& page) {
    if (page.folio != write.folio || page.index != write.index) return;
    *(BytesAt(address) + write.offset) = write.value;
    found = true;
  });
  if (!found) ++foreign_writes_lost;
}

void Machine::FinishForeignWrites(bool only_waiting_for_lock) {
  std::erase_if(foreign_writes, [&](const ForeignWrite& write) {
    if (only_waiting_for_lock && !write.waits_for_lock) return false;
    Land(write);
    return true;
  });
}

}  // namespace drover::kernel::model
