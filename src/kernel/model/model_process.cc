// The model: the engine's own memory, threads, files, time, and the switches.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernel/model/model_kernel.h"

namespace drover::kernel {

using model::Access;
using model::Attributes;
using model::BytesAt;
using model::Page;
using model::Vma;

Result<uint64_t> ModelKernel::MapAt(uint64_t, uint64_t bytes) {
  const auto lock = machine_.Enter(Call::kMap);
  const uint64_t length = RoundUp(bytes, kPageBytes);
  if (length == 0) return std::unexpected(Errno::kInvalid);
  const uint64_t start = machine_.space.Place(length, 0, true);
  if (start == 0) return std::unexpected(Errno::kNoMemory);
  Attributes attributes;
  attributes.origin = machine_.space.NewOrigin();
  machine_.space.Insert({start, length}, attributes);
  return start;
}

void ModelKernel::Unmap(Range range) {
  const auto lock = machine_.Enter(Call::kUnmap);
  bool watched = false;
  machine_.space.ForEachVma(range, [&](Vma& vma) { watched |= vma.attributes.registered != 0; });
  if (watched) machine_.Complain("the engine unmaps what it watches: it waits for itself");
  machine_.space.Unmap(range);
  machine_.WakeRange(range);
}

Errno ModelKernel::Advise(Range range, Advice advice) {
  const auto lock = machine_.Enter(Call::kAdvise);
  if (range.start % kPageBytes != 0) return Errno::kInvalid;
  if (advice == Advice::kPopulateWrite) return Populate(range);
  if (advice == Advice::kCollapse) return CollapseHere(range.start);
  bool watched = false, refused = false;
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    Attributes& has = vma.attributes;
    switch (advice) {
      case Advice::kDontNeed:
        refused |= has.locked;
        watched |= has.registered != 0 && machine_.HasFeature(kFeatureEventRemove);
        if (!has.locked) machine_.space.Discard(vma.range);
        break;
      case Advice::kDontFork:
        has.dont_fork = true;
        break;
      case Advice::kDoFork:
        has.dont_fork = false;
        break;
      case Advice::kHugePage:
        has.huge_advised = true;
        has.huge_forbidden = false;
        break;
      case Advice::kNoHugePage:
        has.huge_advised = false;
        has.huge_forbidden = true;
        break;
      case Advice::kWipeOnFork:
        refused |= !has.anonymous();
        if (has.anonymous()) has.wipe_on_fork = true;
        break;
      case Advice::kPopulateWrite:
      case Advice::kCollapse:
        break;
    }
  });
  if (watched) machine_.Complain("the engine discards what it watches: it waits for itself");
  if (refused) return Errno::kInvalid;
  return machine_.space.Covers(range) ? Errno::kOk : Errno::kNoMemory;
}

void ModelKernel::FaultIn(Range range, uint64_t step) {
  const auto lock = machine_.Enter(Call::kFaultIn);
  for (uint64_t at = range.start; at < range.end(); at += step)
    if (Populate({at, kPageBytes}) != Errno::kOk)
      machine_.Complain("the engine writes where it must not: the kernel would kill the process");
}

// madvise_collapse: every page of the slot is there, and nobody else has a reference.
Errno ModelKernel::Collapse(uint64_t slot) {
  const auto lock = machine_.Enter(Call::kCollapse);
  return CollapseHere(slot);
}

Errno ModelKernel::CollapseHere(uint64_t slot) {
  const Vma* vma = machine_.space.Find(slot);
  if (slot % kHugeBytes != 0 || vma == nullptr || !vma->range.Contains({slot, kHugeBytes}))
    return Errno::kInvalid;
  if (!vma->attributes.anonymous() || vma->attributes.huge_forbidden) return Errno::kInvalid;
  if (machine_.space.IsHugeAt(slot)) return Errno::kOk;
  uint64_t pages = 0;
  int32_t node = 0;
  bool free = vma->attributes.registered == 0;
  machine_.space.ForEachPage({slot, kHugeBytes}, [&](uint64_t, const Page& page) {
    if (page.kind != Page::Kind::kAnonymous) return;
    ++pages;
    node = page.folio->node;
    free = free && page.folio->pins == 0;
  });
  if (pages < kPagesPerHuge || !free) return Errno::kAgain;
  const auto folio =
      machine_.huge_pages_left ? machine_.space.AllocateOn(node, kPagesPerHuge) : nullptr;
  if (folio == nullptr) return Errno::kNoMemory;
  machine_.space.MakeHuge(slot, folio);
  return Errno::kOk;
}

Errno ModelKernel::Populate(Range range) {
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    const Vma* vma = machine_.space.Find(at);
    if (vma == nullptr) return Errno::kNoMemory;
    if (!vma->attributes.writable || vma->attributes.special) return Errno::kInvalid;
    switch (machine_.Touch(at, true)) {
      case Access::kDone:
        break;
      case Access::kKilled:
        return Errno::kFault;  // a guard, or no memory
      case Access::kWaits:
        machine_.Complain("the engine populates a hole: it waits for itself");
        return Errno::kFault;
    }
  }
  return Errno::kOk;
}

Errno ModelKernel::Protect(Range range, bool writable) {
  const auto lock = machine_.Enter(Call::kProtect);
  machine_.FinishForeignWrites(true);
  if (range.start % kPageBytes != 0) return Errno::kInvalid;
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    vma.attributes.readable = true;
    vma.attributes.writable = writable;
    vma.attributes.executable = false;
  });
  return machine_.space.Covers(range) ? Errno::kOk : Errno::kNoMemory;
}

Errno ModelKernel::Unlock(Range range) {
  const auto lock = machine_.Enter(Call::kUnlock);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.locked = false; });
  return machine_.space.Covers(range) ? Errno::kOk : Errno::kNoMemory;
}

Result<uint64_t> ModelKernel::ListThreads(std::span<int32_t> ids) {
  const auto lock = machine_.Enter(Call::kListThreads);
  uint64_t count = 0;
  for (const auto& [id, robust_list] : machine_.threads) {
    if (count < ids.size()) ids[count] = id;
    ++count;
  }
  return count;
}

Result<uint64_t> ModelKernel::RobustListOf(int32_t thread) {
  const auto lock = machine_.Enter(Call::kRobustListOf);
  const auto it = machine_.threads.find(thread);
  if (it == machine_.threads.end()) return std::unexpected(Errno::kNoProcess);
  return it->second;
}

Result<uint64_t> ModelKernel::ReadFile(const char* path, std::span<char> buffer) {
  const auto lock = machine_.Enter(Call::kReadFile);
  const auto it = machine_.files.find(path);
  if (it == machine_.files.end()) return std::unexpected(Errno::kNoEntry);
  const size_t used = std::min(it->second.size(), buffer.size());
  std::memcpy(buffer.data(), it->second.data(), used);
  return used;
}

Errno ModelKernel::VisitDescriptors(Visit visit, void* context) {
  auto lock = machine_.Enter(Call::kVisitDescriptors);
  const auto descriptors = machine_.descriptors;
  lock.unlock();  // the visitor asks more
  int number = 0;
  for (const auto& [target, kind] : descriptors) visit(context, number++, target);
  return Errno::kOk;
}

Result<uint64_t> ModelKernel::ListMarked(Marked how, std::span<Range> ranges) {
  const auto lock = machine_.Enter(Call::kListMarked);
  uint64_t count = 0;
  for (const Vma* vma = machine_.space.FindNext(0); vma != nullptr;
       vma = machine_.space.FindNext(vma->range.end())) {
    const bool listed = how == Marked::kDontFork     ? vma->attributes.dont_fork
                        : how == Marked::kWipeOnFork ? vma->attributes.wipe_on_fork
                        : how == Marked::kLocked     ? vma->attributes.locked
                        : how == Marked::kWantsHuge  ? vma->attributes.huge_advised
                                                     : vma->attributes.keyed;
    if (!listed) continue;
    if (count < ranges.size()) ranges[count] = vma->range;
    ++count;
  }
  return count;
}

Result<SocketKind> ModelKernel::LookAtSocket(int descriptor) {
  const auto lock = machine_.Enter(Call::kLookAtSocket);
  return machine_.descriptors.at(static_cast<size_t>(descriptor)).second;
}

int32_t ModelKernel::ThreadId() {
  return gettid();
}

namespace {

uint64_t ReadClockNs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t ModelKernel::NowNs() {
  return clock_ ? clock_() : ReadClockNs(CLOCK_MONOTONIC);
}

uint64_t ModelKernel::ThreadCpuNs() {
  return ReadClockNs(CLOCK_THREAD_CPUTIME_ID);
}

// ---- switches

void ModelKernel::DenyNextMove(uint64_t nth, uint64_t told_bytes) {
  const std::lock_guard lock(machine_.mutex);
  machine_.deny_after_moves = nth;
  machine_.denied_told_bytes = told_bytes;
}

void ModelKernel::SetDiscardDelay(uint64_t calls) {
  const std::lock_guard lock(machine_.mutex);
  machine_.discard_delay_calls = calls;
}

void ModelKernel::FinishDiscards() {
  const std::lock_guard lock(machine_.mutex);
  const auto due = std::exchange(machine_.discards, {});
  for (const auto& discard : due) machine_.FinishDiscard(discard);
}

void ModelKernel::SetLingeringAgain(uint64_t calls) {
  const std::lock_guard lock(machine_.mutex);
  machine_.linger_moves = calls;
}

void ModelKernel::SetHook(std::function<void(Call, uint64_t)> hook) {
  const std::lock_guard lock(machine_.mutex);
  machine_.hook = std::move(hook);
}

void ModelKernel::SetHugePagesLeft(bool left) {
  const std::lock_guard lock(machine_.mutex);
  machine_.huge_pages_left = left;
}

void ModelKernel::SetLocalNode(Node node) {
  const std::lock_guard lock(machine_.mutex);
  machine_.local_node = node.id;
}

uint64_t ModelKernel::FreePages(Node node) {
  const std::lock_guard lock(machine_.mutex);
  return machine_.space.free_pages()[static_cast<size_t>(node.id)];
}

void ModelKernel::SetFreePages(Node node, uint64_t pages) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.free_pages()[static_cast<size_t>(node.id)] = pages;
}

void ModelKernel::AddThread(int32_t id, uint64_t robust_list) {
  const std::lock_guard lock(machine_.mutex);
  machine_.threads[id] = robust_list;
}

void ModelKernel::EndThread(int32_t id) {
  const std::lock_guard lock(machine_.mutex);
  machine_.threads.erase(id);
}

void ModelKernel::SetFile(const std::string& path, const std::string& text) {
  const std::lock_guard lock(machine_.mutex);
  machine_.files[path] = text;
}

void ModelKernel::AddDescriptor(const std::string& target, SocketKind kind) {
  const std::lock_guard lock(machine_.mutex);
  machine_.descriptors.emplace_back(target, kind);
}

uint64_t ModelKernel::Calls(Call call) {
  const std::lock_guard lock(machine_.mutex);
  return machine_.calls[static_cast<int>(call)];
}

uint64_t ModelKernel::UnreadMessages() {
  const std::lock_guard lock(machine_.mutex);
  return machine_.UnreadMessages();
}

uint64_t ModelKernel::EntriesUnprotected() {
  const std::lock_guard lock(machine_.mutex);
  return machine_.entries_unprotected;
}

std::vector<std::string> ModelKernel::Complaints() {
  const std::lock_guard lock(machine_.mutex);
  return machine_.complaints;
}

}  // namespace drover::kernel
