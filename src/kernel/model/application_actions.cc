// The application: what may have to wait for the engine, and children.
#include <algorithm>
#include <cstring>

#include "kernel/model/application.h"

namespace drover::kernel::model {

uint64_t Application::Announce(const std::vector<Message>& messages) {
  const uint64_t action = machine_.NewAction();
  for (const Message& message : messages) machine_.QueueEvent(action, message);
  if (messages.empty()) machine_.Finish(action, ActionState::kDone);
  return action;
}

// One message for each mapping in the range that is watched.
std::vector<Message> Application::MessagesFor(Range range, Message::Kind kind, uint64_t feature,
                                              uint64_t target) {
  std::vector<Message> messages;
  if (!machine_.HasFeature(feature)) return messages;
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    if (vma.attributes.registered == 0) return;
    Message message;
    message.kind = kind;
    message.address = vma.range.start;
    message.length = vma.range.length;
    if (kind == Message::Kind::kRemap) message.target = target + vma.range.start - range.start;
    messages.push_back(message);
  });
  return messages;
}

uint64_t Application::StartTouch(uint64_t address, bool write, int32_t thread) {
  const std::lock_guard lock(machine_.mutex);
  const uint64_t action = machine_.NewAction();
  switch (machine_.Touch(address, write)) {
    case Access::kDone:
      machine_.Finish(action, ActionState::kDone);
      break;
    case Access::kKilled:
      machine_.Finish(action, ActionState::kKilled);
      break;
    case Access::kWaits:
      machine_.QueueFault({action, address, thread, write});
      break;
  }
  return action;
}

// The event comes first, the discard follows when it has been read.
uint64_t Application::StartDiscard(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    const bool heard = vma.attributes.registered != 0 && machine_.HasFeature(kFeatureEventRemove);
    if (!heard) machine_.space.Discard(vma.range);
  });
  return Announce(MessagesFor(range, Message::Kind::kRemove, kFeatureEventRemove, 0));
}

// The unmap comes first, the event follows.
uint64_t Application::StartUnmap(Range range) {
  const std::lock_guard lock(machine_.mutex);
  const auto messages = MessagesFor(range, Message::Kind::kUnmap, kFeatureEventUnmap, 0);
  machine_.space.Unmap(range);
  machine_.WakeRange(range);
  return Announce(messages);
}

uint64_t Application::StartMapOver(Range range) {
  const std::lock_guard lock(machine_.mutex);
  const auto messages = MessagesFor(range, Message::Kind::kUnmap, kFeatureEventUnmap, 0);
  machine_.space.Unmap(range);
  Attributes attributes;
  attributes.origin = machine_.space.NewOrigin();
  machine_.space.Insert(range, attributes);
  machine_.WakeRange(range);
  return Announce(messages);
}

uint64_t Application::StartRemap(Range range, uint64_t* target, uint64_t more_bytes) {
  const std::lock_guard lock(machine_.mutex);
  *target = machine_.space.Place(range.length + more_bytes, range.start % kHugeBytes, false);
  if (*target == 0) return Announce({});
  const auto messages = MessagesFor(range, Message::Kind::kRemap, kFeatureEventRemap, *target);
  machine_.space.Remap(range, *target);
  machine_.space.Find(*target + range.length - kPageBytes)->range.length += more_bytes;
  if (messages.empty())  // nobody is told, so the registration does not go along
    machine_.space.ForEachVma({*target, range.length + more_bytes},
                              [](Vma& vma) { vma.attributes.registered = 0; });
  machine_.WakeRange(range);
  return Announce(messages);
}

bool Application::Finished(uint64_t action) {
  const std::lock_guard lock(machine_.mutex);
  return machine_.actions.at(action) != ActionState::kWaiting;
}

ActionState Application::Wait(uint64_t action) {
  std::unique_lock lock(machine_.mutex);
  machine_.changed.wait(lock, [&] { return machine_.actions.at(action) != ActionState::kWaiting; });
  return machine_.actions.at(action);
}

// ---- children

void Application::ShareWith(Child* child, Range range) {
  machine_.space.ForEachPage(range, [&](uint64_t address, Page& page) {
    child->content[address].assign(BytesAt(address), BytesAt(address) + kPageBytes);
    const bool shares = page.kind == Page::Kind::kAnonymous && page.folio->pins == 0;
    if (!shares) return;  // pinned pages are copied for the child at once
    page.exclusive = false;
    if (std::find(child->folios.begin(), child->folios.end(), page.folio) == child->folios.end()) {
      ++page.folio->children;
      child->folios.push_back(page.folio);
    }
  });
}

uint64_t Application::StartFork() {
  const std::lock_guard lock(machine_.mutex);
  Child child;
  bool watched = false;
  for (Vma* vma = machine_.space.FindNext(0); vma != nullptr;
       vma = machine_.space.FindNext(vma->range.end())) {
    if (vma->attributes.dont_fork) continue;
    child.mappings.push_back(vma->range);
    watched |= vma->attributes.registered != 0;
    if (!vma->attributes.wipe_on_fork) ShareWith(&child, vma->range);
  }
  const uint64_t action = machine_.NewAction();
  const bool heard = watched && machine_.HasFeature(kFeatureEventFork);
  child.closed = !heard;
  machine_.children[action] = std::move(child);
  if (heard)
    machine_.QueueEvent(action, {Message::Kind::kFork, 0, 0, 0, -1, 0});
  else
    machine_.Finish(action, ActionState::kDone);
  return action;
}

uint64_t Application::Share(Range range) {
  const std::lock_guard lock(machine_.mutex);
  const uint64_t action = machine_.NewAction();
  Child& child = machine_.children[action];
  child.mappings.push_back(range);
  ShareWith(&child, range);
  machine_.Finish(action, ActionState::kDone);
  return action;
}

std::optional<uint64_t> Application::ChildReadWord(uint64_t action, uint64_t address) {
  std::unique_lock lock(machine_.mutex);
  Child& child = machine_.children.at(action);
  if (std::none_of(child.mappings.begin(), child.mappings.end(),
                   [&](Range range) { return range.Contains(address); }))
    return std::nullopt;
  const uint64_t page = RoundDown(address, kPageBytes);
  machine_.changed.wait(lock, [&] { return child.closed || child.content.contains(page); });
  if (!child.content.contains(page)) return 0;
  uint64_t value;
  std::memcpy(&value, child.content.at(page).data() + address % kPageBytes, sizeof value);
  return value;
}

void Application::EndChild(uint64_t action) {
  const std::lock_guard lock(machine_.mutex);
  for (const auto& folio : machine_.children.at(action).folios) --folio->children;
  machine_.children.erase(action);
}

}  // namespace drover::kernel::model
