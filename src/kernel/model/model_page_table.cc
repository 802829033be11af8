// The model: what the page table says, and nodes.
#include <algorithm>
#include <cstring>

#include "kernel/model/model_kernel.h"

namespace drover::kernel {

using model::Folio;
using model::Page;
using model::Vma;

namespace {

constexpr int32_t Negative(Errno error) {
  return -static_cast<int32_t>(error);
}

uint64_t CategoriesOf(const Page* page) {
  if (page == nullptr) return 0;
  if (!page->present()) return kPageSwapped;
  uint64_t categories = kPagePresent;
  if (page->huge) categories |= kPageHuge;
  if (page->kind == Page::Kind::kZero) categories |= kPageZero;
  if (page->kind == Page::Kind::kFile) categories |= kPageFile;
  return categories;
}

PageEntry EntryOf(const Page* page) {
  constexpr uint64_t kOne = 1;
  if (page == nullptr) return {};
  switch (page->kind) {
    case Page::Kind::kGuard:
      return {kOne << 62 | kOne << 58};
    case Page::Kind::kSwapped:
      return {kOne << 62 | (page->exclusive ? kOne << 56 : 0)};
    case Page::Kind::kZero:
      return {kOne << 63 | 1};
    case Page::Kind::kFile:
    case Page::Kind::kAnonymous:
      break;
  }
  // Bit 56 counts mappers; it knows nothing of a fork whose child is gone.
  return {kOne << 63 | (page->folio->children == 0 ? kOne << 56 : 0) |
          (page->kind == Page::Kind::kFile ? kOne << 61 : 0) | (page->folio->frame + page->index)};
}

}  // namespace

Errno ModelKernel::ReadMemory(uint64_t from, uint64_t to, uint64_t length) {
  const auto lock = machine_.Enter(Call::kReadMemory);
  if (refuse_reads_) return Errno::kAccess;
  for (uint64_t at = 0; at < length; at += kPageBytes) {
    const Page* page = machine_.space.Find4K(from + at);
    if (page == nullptr && machine_.space.Find(from + at) != nullptr) {
      std::memset(model::BytesAt(to + at), 0, kPageBytes);
      continue;
    }
    if (page == nullptr || !page->present()) return Errno::kFault;
    std::memcpy(model::BytesAt(to + at), model::BytesAt(from + at), kPageBytes);
  }
  return Errno::kOk;
}

Result<uint64_t> ModelKernel::Scan(Range range, uint64_t required, uint64_t forbidden,
                                   uint64_t report, std::span<PageRegion> regions,
                                   uint64_t* walk_end) {
  const auto lock = machine_.Enter(Call::kScan);
  if (range.start % kPageBytes != 0) return std::unexpected(Errno::kInvalid);
  uint64_t count = 0;
  *walk_end = range.end();
  // What is not there is of interest only to a caller that requires nothing.
  const auto take = [&](uint64_t at, uint64_t has) {
    if ((has & required) != required || (has & forbidden) != 0) return true;
    const uint64_t shown = has & (report | required);
    PageRegion* last = count > 0 ? &regions[count - 1] : nullptr;
    if (last != nullptr && last->end == at && last->categories == shown) {
      last->end = at + kPageBytes;
      return true;
    }
    if (count == regions.size()) {
      *walk_end = at;
      return false;
    }
    regions[count++] = {at, at + kPageBytes, shown};
    return true;
  };
  if (required != 0) {  // follows the pages, not the addresses
    bool room = true;
    machine_.space.ForEachPage(range, [&](uint64_t at, Page& page) {
      if (room) room = take(at, CategoriesOf(&page));
    });
    return count;
  }
  for (uint64_t at = range.start; at < range.end(); at += kPageBytes)
    if (machine_.space.Find(at) != nullptr && !take(at, CategoriesOf(machine_.space.Find4K(at))))
      break;
  return count;
}

Errno ModelKernel::ReadEntries(uint64_t start, std::span<PageEntry> entries) {
  const auto lock = machine_.Enter(Call::kReadEntries);
  std::fill(entries.begin(), entries.end(), PageEntry{});
  machine_.space.ForEachPage({start, entries.size() * kPageBytes}, [&](uint64_t at, Page& page) {
    entries[(at - start) / kPageBytes] = EntryOf(&page);
  });
  return Errno::kOk;
}

Result<Mapping> ModelKernel::NextMapping(uint64_t address) {
  const auto lock = machine_.Enter(Call::kNextMapping);
  const Vma* vma = machine_.space.FindNext(address);
  if (vma == nullptr) return std::unexpected(Errno::kNoEntry);
  const model::Attributes& has = vma->attributes;
  Mapping mapping;
  mapping.range = vma->range;
  mapping.readable = has.readable;
  mapping.writable = has.writable;
  mapping.executable = has.executable;
  mapping.shared = has.shared;
  mapping.file = has.file || has.shared;  // shared anonymous memory is a file of the kernel's own
  mapping.stack = has.stack;
  mapping.special = has.special;
  return mapping;
}

Errno ModelKernel::QueryNodes(std::span<const uint64_t> addresses, std::span<int32_t> nodes) {
  const auto lock = machine_.Enter(Call::kQueryNodes);
  for (size_t i = 0; i < addresses.size(); ++i) {
    const Page* page = machine_.space.Find4K(addresses[i]);
    if (machine_.space.Find(addresses[i]) == nullptr)
      nodes[i] = Negative(Errno::kFault);
    else if (page == nullptr || !page->present())
      nodes[i] = Negative(Errno::kNoEntry);
    else if (page->kind == Page::Kind::kZero)
      nodes[i] = Negative(Errno::kFault);
    else
      nodes[i] = page->folio->node;
  }
  return Errno::kOk;
}

namespace {

// One call of move_pages(2), as mm/migrate.c does it: pages are queued, and a queue is worked off
// when the target changes, a page need not or cannot be queued, or the list ends.
class PageMover {
 public:
  PageMover(model::Machine& machine, std::span<const uint64_t> addresses,
            std::span<const int32_t> nodes, std::span<int32_t> status, Whose whose)
      : machine_(machine), addresses_(addresses), nodes_(nodes), status_(status), whose_(whose) {}

  Result<int64_t> Run() {
    for (size_t i = 0; i < addresses_.size(); ++i) {
      const int32_t node = nodes_[i];
      if (node < 0 || static_cast<size_t>(node) >= machine_.space.free_pages().size()) {
        const auto left = WorkOff(i);
        if (!left.has_value() || *left > 0) return left;
        return std::unexpected(Errno::kNoDevice);
      }
      if (!queue_.empty() && nodes_[queue_.front()] != node) {
        const auto left = WorkOff(i);
        if (!left.has_value() || *left > 0) return left;
      }
      int32_t status = 0;
      if (Queue(i, &status)) continue;
      status_[i] = status;
      const auto left = WorkOff(i + 1);
      if (!left.has_value() || *left > 0) return left;
    }
    return WorkOff(addresses_.size());
  }

 private:
  // False: `status` says why not.
  bool Queue(size_t i, int32_t* status) {
    const uint64_t address = addresses_[i];
    Page* page = machine_.space.Find4K(address);
    if (machine_.space.Find(address) == nullptr)
      *status = Negative(Errno::kFault);
    else if (page == nullptr || !page->present())
      *status = Negative(Errno::kNoEntry);
    else if (page->kind == Page::Kind::kZero)
      *status = Negative(Errno::kFault);
    else if (page->folio->node == nodes_[i])
      *status = nodes_[i];
    else if (page->folio->children > 0 && whose_ == Whose::kOnlyOwn)
      *status = Negative(Errno::kAccess);
    else if (IsQueued(page->folio.get()))
      *status = Negative(Errno::kBusy);
    else
      return queue_.push_back(i), true;
    return false;
  }

  bool IsQueued(const Folio* folio) {
    return std::any_of(queue_.begin(), queue_.end(), [&](size_t i) {
      return machine_.space.Find4K(addresses_[i])->folio.get() == folio;
    });
  }

  // How many did not move and were not tried; `tried` is how many of the list were looked at.
  Result<int64_t> WorkOff(size_t tried) {
    int64_t failed = 0;
    for (const size_t i : queue_) {
      Page& page = *machine_.space.Find4K(addresses_[i]);
      if (page.folio->pins > 0) {
        ++failed;
        continue;
      }
      const auto fresh = machine_.space.AllocateOn(nodes_[i], page.folio->pages);
      if (fresh == nullptr) return std::unexpected(Errno::kNoMemory);
      const auto old = page.folio;
      machine_.space.ForEachPage({0, ~uint64_t{0}}, [&](uint64_t, Page& each) {
        if (each.folio == old) each.folio = fresh;
      });
      for (auto& [action, child] : machine_.children)  // all who map it
        for (auto& shared : child.folios)
          if (shared == old) shared = fresh;
      fresh->children = old->children;
    }
    if (failed > 0) return failed + static_cast<int64_t>(addresses_.size() - tried);
    for (const size_t i : queue_) status_[i] = nodes_[i];
    queue_.clear();
    return 0;
  }

  model::Machine& machine_;
  const std::span<const uint64_t> addresses_;
  const std::span<const int32_t> nodes_;
  const std::span<int32_t> status_;
  const Whose whose_;
  std::vector<size_t> queue_;
};

}  // namespace

Result<int64_t> ModelKernel::MovePages(std::span<const uint64_t> addresses,
                                       std::span<const int32_t> nodes, std::span<int32_t> status,
                                       Whose whose) {
  const auto lock = machine_.Enter(Call::kMovePages);
  return PageMover(machine_, addresses, nodes, status, whose).Run();
}

Errno ModelKernel::PreferNode(Range range, Node node) {
  const auto lock = machine_.Enter(Call::kPreferNode);
  if (node.id >= static_cast<int32_t>(machine_.space.options().node_count)) return Errno::kInvalid;
  if (!machine_.space.Covers(range)) return Errno::kFault;
  machine_.space.ForEachVma(range, [&](Vma& vma) { vma.attributes.preferred_node = node.id; });
  return Errno::kOk;
}

}  // namespace drover::kernel
