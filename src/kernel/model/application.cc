#include "kernel/model/application.h"

#include <algorithm>
#include <cstring>

namespace drover::kernel::model {
namespace {

// A word that depends on seed and address, so that a page in the wrong place shows.
uint64_t WordFor(uint64_t seed, uint64_t offset) {
  uint64_t x = seed * 0x9e3779b97f4a7c15 + offset;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace

// ---- mappings

uint64_t Application::Map(uint64_t bytes, const MapOptions& options) {
  const std::lock_guard lock(machine_.mutex);
  const uint64_t length = RoundUp(bytes, kPageBytes);
  const uint64_t start = machine_.space.Place(length, options.offset, false);
  if (start == 0) return 0;
  Attributes attributes;
  attributes.readable = options.readable;
  attributes.writable = options.writable;
  attributes.executable = options.executable;
  attributes.shared = options.shared;
  attributes.file = options.file;
  attributes.on_disk = options.on_disk;
  attributes.stack = options.stack;
  attributes.special = options.special;
  attributes.locked = options.locked;
  attributes.keyed = options.keyed;
  attributes.huge_advised = options.huge_advised;
  attributes.foreign_userfault = options.foreign_userfault;
  attributes.origin = machine_.space.NewOrigin();
  machine_.space.Insert({start, length}, attributes);
  return start;
}

void Application::Protect(Range range, bool readable, bool writable, bool executable) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [&](Vma& vma) {
    vma.attributes.readable = readable;
    vma.attributes.writable = writable;
    vma.attributes.executable = executable;
  });
}

void Application::PopulateLocked(Range range) {
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.locked = true; });
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    const Vma* vma = machine_.space.Find(at);
    if (vma == nullptr || vma->attributes.special) continue;
    (void)machine_.Touch(at, vma->attributes.writable && vma->attributes.anonymous());
  }
}

void Application::Lock(Range range) {
  const std::lock_guard lock(machine_.mutex);
  PopulateLocked(range);
}

void Application::LockOnFault(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.locked = true; });
}

void Application::LockAll() {
  const std::lock_guard lock(machine_.mutex);
  for (Vma* vma = machine_.space.FindNext(0); vma != nullptr;) {
    const Range range = vma->range;
    PopulateLocked(range);
    vma = machine_.space.FindNext(range.end());
  }
}

void Application::Unlock(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.locked = false; });
}

void Application::Grow(Range mapping, uint64_t more_bytes) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.Find(mapping.end() - kPageBytes)->range.length += more_bytes;
}

void Application::AdviseHuge(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.huge_advised = true; });
}

void Application::ForbidHuge(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.huge_forbidden = true; });
}

void Application::AdviseDontFork(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.dont_fork = true; });
}

void Application::AdviseWipeOnFork(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.wipe_on_fork = true; });
}

bool Application::IsInherited(uint64_t address) {
  const std::lock_guard lock(machine_.mutex);
  const Vma* vma = machine_.space.Find(address);
  return vma != nullptr && !vma->attributes.dont_fork;
}

void Application::Guard(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.Zap(range);
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes)
    machine_.space.Put(at, {Page::Kind::kGuard, false, false, 0, nullptr});
}

void Application::RegisterElsewhere(Range range) {
  const std::lock_guard lock(machine_.mutex);
  machine_.space.ForEachVma(range, [](Vma& vma) { vma.attributes.foreign_userfault = true; });
}

// ---- content

bool Application::TouchAndWait(std::unique_lock<std::mutex>& lock, uint64_t address, bool write,
                               int32_t thread) {
  for (;;) {
    switch (machine_.Touch(address, write)) {
      case Access::kDone:
        return true;
      case Access::kKilled:
        return false;
      case Access::kWaits:
        break;
    }
    const uint64_t action = machine_.NewAction();
    machine_.QueueFault({action, address, thread, write});
    machine_.changed.wait(lock,
                          [&] { return machine_.actions.at(action) != ActionState::kWaiting; });
  }
}

bool Application::Write(uint64_t address, std::span<const std::byte> content, int32_t thread) {
  std::unique_lock lock(machine_.mutex);
  while (!content.empty()) {
    const uint64_t in_page = kPageBytes - address % kPageBytes;
    const auto part = content.first(std::min<size_t>(in_page, content.size()));
    if (!TouchAndWait(lock, address, true, thread)) return false;
    std::memcpy(BytesAt(address), part.data(), part.size());
    address += part.size();
    content = content.subspan(part.size());
  }
  return true;
}

bool Application::WriteWord(uint64_t address, uint64_t value, int32_t thread) {
  return Write(address, std::as_bytes(std::span(&value, 1)), thread);
}

std::optional<uint64_t> Application::ReadWord(uint64_t address, int32_t thread) {
  std::unique_lock lock(machine_.mutex);
  if (!TouchAndWait(lock, address, false, thread)) return std::nullopt;
  uint64_t value;
  std::memcpy(&value, BytesAt(address), sizeof value);
  return value;
}

void Application::Fill(Range range, uint64_t seed) {
  std::vector<uint64_t> words(kPageBytes / sizeof(uint64_t));
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    for (size_t i = 0; i < words.size(); ++i)
      words[i] = WordFor(seed, at - range.start + i * sizeof(uint64_t));
    (void)Write(at, std::as_bytes(std::span(words)));
  }
}

uint64_t Application::CountWrong(Range range, uint64_t seed) {
  uint64_t wrong = 0;
  std::unique_lock lock(machine_.mutex);
  for (uint64_t at = range.start; at < range.end(); at += sizeof(uint64_t)) {
    uint64_t value = 0;
    if (at % kPageBytes == 0 && !TouchAndWait(lock, at, false, 1)) {
      wrong += kPageBytes / sizeof value;
      at += kPageBytes - sizeof value;
      continue;
    }
    std::memcpy(&value, BytesAt(at), sizeof value);
    wrong += value != WordFor(seed, at - range.start);
  }
  return wrong;
}

void Application::SwapOut(Range range) {
  const std::lock_guard lock(machine_.mutex);
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    Page* page = machine_.space.Find4K(at);
    if (page == nullptr || page->kind != Page::Kind::kAnonymous) continue;
    machine_.space.SplitEntry(at);
    if (page->folio->pages > 1) machine_.space.SplitFolio(*page);
    page->kind = Page::Kind::kSwapped;
  }
}

void Application::PlaceOn(Range range, Node node) {
  const std::lock_guard lock(machine_.mutex);
  std::map<Folio*, std::shared_ptr<Folio>> moved;
  machine_.space.ForEachPage(range, [&](uint64_t, Page& page) {
    if (page.folio == nullptr || page.folio->node == node.id) return;
    auto& fresh = moved[page.folio.get()];
    if (fresh == nullptr) fresh = machine_.space.AllocateOn(node.id, page.folio->pages);
    if (fresh != nullptr) page.folio = fresh;
  });
}

// ---- devices and other processes

void Application::Pin(Range range) {
  const std::lock_guard lock(machine_.mutex);
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    if (machine_.Touch(at, true) != Access::kDone) continue;
    const auto folio = machine_.space.Find4K(at)->folio;
    ++folio->pins;
    machine_.pins[at] = folio;
  }
}

void Application::Unpin(Range range) {
  const std::lock_guard lock(machine_.mutex);
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes) {
    const auto it = machine_.pins.find(at);
    if (it == machine_.pins.end()) continue;
    --it->second->pins;
    machine_.pins.erase(it);
  }
}

void Application::StartForeignWrite(uint64_t address, std::byte value, bool waits_for_lock) {
  const std::lock_guard lock(machine_.mutex);
  const Page* page = machine_.space.Find4K(address);
  if (page == nullptr || page->folio == nullptr) return;
  machine_.foreign_writes.push_back(
      {page->folio, page->index, address % kPageBytes, value, waits_for_lock});
}

void Application::FinishForeignWrites() {
  const std::lock_guard lock(machine_.mutex);
  machine_.FinishForeignWrites(false);
}

void Application::FinishForeignWrite() {
  const std::lock_guard lock(machine_.mutex);
  if (machine_.foreign_writes.empty()) return;
  machine_.Land(machine_.foreign_writes.front());
  machine_.foreign_writes.erase(machine_.foreign_writes.begin());
}

uint64_t Application::ForeignWritesLost() {
  const std::lock_guard lock(machine_.mutex);
  return machine_.foreign_writes_lost;
}

}  // namespace drover::kernel::model
