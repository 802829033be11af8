#include "kernel/model/address_space.h"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <utility>

namespace drover::kernel::model {

AddressSpace::AddressSpace(const Options& options)
    : options_(options), free_pages_(options.node_count, options.free_pages_per_node) {
  reserved_ = mmap(nullptr, options.arena_bytes + kHugeBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved_ == MAP_FAILED) throw std::bad_alloc();
  // (A fault for each small page would be most of what a test costs.)
  madvise(reserved_, options.arena_bytes + kHugeBytes, MADV_HUGEPAGE);
  arena_ = {RoundUp(reinterpret_cast<uint64_t>(reserved_), kHugeBytes), options.arena_bytes};
}

AddressSpace::~AddressSpace() {
  munmap(reserved_, options_.arena_bytes + kHugeBytes);
}

uint64_t AddressSpace::Place(uint64_t bytes, uint64_t offset, bool any_offset) const {
  // A page between mappings stays free, so that none merge by accident.
  uint64_t end_before = arena_.start;
  for (auto it = vmas_.begin();; ++it) {
    uint64_t start = end_before + kPageBytes;
    if (!any_offset)
      start = RoundUp(start - offset, kHugeBytes) + offset;
    else if (start % kHugeBytes == 0)
      start += kPageBytes;
    const uint64_t limit = it == vmas_.end() ? arena_.end() : it->first;
    if (start + bytes + kPageBytes <= limit) return start;
    if (it == vmas_.end()) return 0;
    end_before = it->second.range.end();
  }
}

void AddressSpace::Insert(Range range, const Attributes& attributes) {
  vmas_[range.start] = {range, attributes};
}

Vma* AddressSpace::FindNext(uint64_t address) {
  auto it = vmas_.upper_bound(address);
  if (it != vmas_.begin()) {
    const auto before = std::prev(it);
    if (before->second.range.Contains(address)) return &before->second;
  }
  return it == vmas_.end() ? nullptr : &it->second;
}

Vma* AddressSpace::Find(uint64_t address) {
  Vma* vma = FindNext(address);
  return vma != nullptr && vma->range.Contains(address) ? vma : nullptr;
}

bool AddressSpace::Covers(Range range) {
  for (uint64_t at = range.start; at < range.end();) {
    const Vma* vma = Find(at);
    if (vma == nullptr) return false;
    at = vma->range.end();
  }
  return true;
}

void AddressSpace::SplitAt(uint64_t address) {
  Vma* vma = Find(address);
  if (vma == nullptr || vma->range.start == address) return;
  const uint64_t end = vma->range.end();
  const Attributes attributes = vma->attributes;
  vma->range.length = address - vma->range.start;
  Insert({address, end - address}, attributes);
  // No huge page reaches over the border of a mapping.
  if (address % kHugeBytes != 0) SplitEntry(address);
}

void AddressSpace::Merge() {
  for (auto it = vmas_.begin(); it != vmas_.end();) {
    const auto next = std::next(it);
    if (next == vmas_.end()) return;
    Vma& low = it->second;
    const Vma& high = next->second;
    if (low.range.end() == high.range.start && low.attributes == high.attributes) {
      low.range.length += high.range.length;
      vmas_.erase(next);
    } else {
      it = next;
    }
  }
}

void AddressSpace::Unmap(Range range) {
  Zap(range);
  SplitAt(range.start);
  SplitAt(range.end());
  vmas_.erase(vmas_.lower_bound(range.start), vmas_.lower_bound(range.end()));
  // A table goes when no mapping reaches into its slot any more.
  for (uint64_t slot = Slot(range.start); slot < range.end(); slot += kHugeBytes) {
    const Vma* vma = FindNext(slot);
    if (vma == nullptr || vma->range.start >= slot + kHugeBytes) tables_.erase(slot);
  }
  // The engine writes to its own memory without the model's knowledge: the next owner gets zeros.
  madvise(BytesAt(range.start), range.length, MADV_DONTNEED);
}

void AddressSpace::Remap(Range range, uint64_t target) {
  SplitAt(range.start);
  SplitAt(range.end());
  std::vector<Vma> moved;
  for (auto it = vmas_.lower_bound(range.start); it != vmas_.end() && it->first < range.end();)
    moved.push_back(it->second), it = vmas_.erase(it);
  for (Vma& vma : moved) {
    vma.range.start += target - range.start;
    vma.attributes.displacement += target - range.start;
    Insert(vma.range, vma.attributes);
  }
  for (uint64_t at = range.start; at < range.end();) {
    Page* page = Find4K(at);
    const uint64_t to = target + (at - range.start);
    const bool whole = page != nullptr && page->huge && at % kHugeBytes == 0 &&
                       to % kHugeBytes == 0 && range.end() - at >= kHugeBytes && !HasTable(to);
    if (page != nullptr) {
      if (page->huge && !whole) SplitEntry(at);
      Carry(to, at, whole);
    }
    at += whole ? kHugeBytes : kPageBytes;
  }
}

Page* AddressSpace::Find4K(uint64_t address) {
  const auto it = pages_.find(RoundDown(address, kPageBytes));
  return it == pages_.end() ? nullptr : &it->second;
}

void AddressSpace::Put(uint64_t address, Page page) {
  if (!page.huge) MakeTable(address);
  pages_[address] = std::move(page);
}

void AddressSpace::Remove(Range range, bool with_guards) {
  if (range.start % kHugeBytes != 0) SplitEntry(range.start);
  if (range.end() % kHugeBytes != 0) SplitEntry(range.end());
  for (auto it = pages_.lower_bound(range.start); it != pages_.end() && it->first < range.end();) {
    if (!with_guards && it->second.kind == Page::Kind::kGuard) {
      ++it;
      continue;
    }
    std::memset(BytesAt(it->first), 0, kPageBytes);
    it = pages_.erase(it);
  }
}

void AddressSpace::Zap(Range range) {
  Remove(range, true);
}

void AddressSpace::Discard(Range range) {
  Remove(range, false);
  if (!options_.page_table_reclaim) return;
  for (uint64_t slot = RoundUp(range.start, kHugeBytes); slot + kHugeBytes <= range.end();
       slot += kHugeBytes) {
    const auto left = pages_.lower_bound(slot);
    if (left == pages_.end() || left->first >= slot + kHugeBytes) tables_.erase(slot);
  }
}

void AddressSpace::Carry(uint64_t target, uint64_t source, bool huge) {
  const uint64_t bytes = huge ? kHugeBytes : kPageBytes;
  std::memcpy(BytesAt(target), BytesAt(source), bytes);
  std::memset(BytesAt(source), 0, bytes);
  for (uint64_t i = 0; i < bytes; i += kPageBytes) {
    auto node = pages_.extract(source + i);
    Put(target + i, std::move(node.mapped()));
  }
}

bool AddressSpace::IsHugeAt(uint64_t address) {
  const Page* page = Find4K(address);
  return page != nullptr && page->huge;
}

void AddressSpace::MakeHuge(uint64_t slot, const std::shared_ptr<Folio>& folio) {
  uint32_t index = 0;
  ForEachPage({slot, kHugeBytes}, [&](uint64_t, Page& page) {
    page = {Page::Kind::kAnonymous, true, true, index++, folio};
  });
  tables_.erase(slot);
}

void AddressSpace::SplitEntry(uint64_t address) {
  if (!IsHugeAt(address)) return;
  ForEachPage({Slot(address), kHugeBytes}, [](uint64_t, Page& page) { page.huge = false; });
  MakeTable(address);
}

void AddressSpace::SplitFolio(Page& page) {
  const std::shared_ptr<Folio> whole = page.folio;
  for (auto& [address, each] : pages_) {
    if (each.folio != whole) continue;
    each.folio = std::make_shared<Folio>(free_pages_, whole->node, 1, whole->frame + each.index);
    each.index = 0;
    --whole->pages;
  }
}

bool AddressSpace::HugeFits(const Vma& vma, uint64_t address) {
  const Range slot{Slot(address), kHugeBytes};
  if (!vma.attributes.huge_advised || !vma.attributes.anonymous()) return false;
  return vma.range.Contains(slot) && !HasTable(slot.start);
}

std::shared_ptr<Folio> AddressSpace::AllocateOn(int32_t node, uint64_t pages) {
  uint64_t& free = free_pages_[static_cast<size_t>(node)];
  if (free < pages) return nullptr;
  free -= pages;
  const uint64_t frame = frames_;
  frames_ += pages;
  return std::make_shared<Folio>(free_pages_, node, pages, frame);
}

std::shared_ptr<Folio> AddressSpace::Allocate(int32_t node, uint64_t pages) {
  const int32_t first = node < 0 ? 0 : node;
  const auto count = static_cast<int32_t>(options_.node_count);
  for (int32_t i = 0; i < count; ++i)
    if (auto folio = AllocateOn((first + i) % count, pages)) return folio;
  return nullptr;
}

}  // namespace drover::kernel::model
