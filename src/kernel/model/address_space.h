// The model's memory: mappings, pages, page tables and nodes, over one real arena. Addresses are
// real, because the engine copies through plain pointers: a page's content stands at its address.
// Where there is no page the arena holds zeros.
//
// Nothing here locks: Machine::mutex guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "kernel/types.h"

namespace drover::kernel::model {

struct Options {
  uint64_t arena_bytes = uint64_t{256} << 20;
  uint32_t node_count = 1;
  uint64_t free_pages_per_node = uint64_t{1} << 20;
  uint64_t features = kFeaturesWanted;
  // DONTNEED over a whole 2 MiB slot frees its page table (CONFIG_PT_RECLAIM, Linux 6.14).
  bool page_table_reclaim = true;
};

// What a mapping is. Neighbours that are equal in all of it become one mapping, as in the kernel.
struct Attributes {
  bool readable = true, writable = true, executable = false;
  bool shared = false, file = false, on_disk = false, stack = false, special = false;
  bool locked = false;
  bool keyed = false;  // has a protection key of its own
  bool dont_fork = false, wipe_on_fork = false;
  bool huge_advised = false, huge_forbidden = false;  // MADV_HUGEPAGE, MADV_NOHUGEPAGE
  bool foreign_userfault = false;                     // another descriptor has it
  uint64_t registered = 0;                            // RegisterMode; 0: not registered
  int32_t preferred_node = -1;
  uint64_t origin = 0;        // which mmap made it
  uint64_t displacement = 0;  // how far mremap has carried it since

  bool anonymous() const { return !shared && !file; }
  bool operator==(const Attributes&) const = default;
};

struct Vma {
  Range range;
  Attributes attributes;
};

// Physical memory: one page, or the 512 of a huge page. Whoever maps or pins it owns it; with the
// last owner it goes back to its node.
struct Folio {
  Folio(std::vector<uint64_t>& node_free_pages, int32_t at_node, uint64_t page_count,
        uint64_t first_frame)
      : free_pages(node_free_pages), node(at_node), pages(page_count), frame(first_frame) {}
  ~Folio() { free_pages[static_cast<size_t>(node)] += pages; }
  Folio(const Folio&) = delete;
  Folio& operator=(const Folio&) = delete;

  std::vector<uint64_t>& free_pages;
  int32_t node;
  uint64_t pages;
  uint64_t frame;
  int pins = 0;      // FOLL_PIN
  int children = 0;  // processes that map it, too
};

struct Page {
  enum class Kind : uint8_t { kAnonymous, kFile, kZero, kSwapped, kGuard };
  Kind kind = Kind::kAnonymous;
  bool huge = false;  // mapped by a page-middle entry, with its 511 neighbours
  // Only this process can see it. The kernel keeps this apart from the number of mappers: after a
  // fork whose child is gone the page is mapped once, and still not known to be exclusive.
  bool exclusive = true;
  uint32_t index = 0;  // within the folio
  std::shared_ptr<Folio> folio;

  bool present() const { return kind != Kind::kSwapped && kind != Kind::kGuard; }
};

class AddressSpace {
 public:
  explicit AddressSpace(const Options& options);
  ~AddressSpace();
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  // ---- mappings
  // A free place for `bytes` whose address modulo 2 MiB is `offset`; 0: none. With any_offset the
  // place is never 2 MiB aligned, so that nobody comes to rely on luck.
  uint64_t Place(uint64_t bytes, uint64_t offset, bool any_offset) const;
  void Insert(Range range, const Attributes& attributes);
  uint64_t NewOrigin() { return ++origins_; }
  Vma* Find(uint64_t address);
  Vma* FindNext(uint64_t address);  // the one that holds it, or the next above
  bool Covers(Range range);         // mapped without a gap
  // Cuts mappings at the borders and calls change(Vma&) for each inside; then merges.
  template <class Change>
  void ForEachVma(Range range, Change change) {
    SplitAt(range.start);
    SplitAt(range.end());
    for (auto it = vmas_.lower_bound(range.start); it != vmas_.end() && it->first < range.end();
         ++it)
      change(it->second);
    Merge();
  }
  void Unmap(Range range);  // mappings, pages and tables
  void Remap(Range range, uint64_t target);

  // ---- pages
  Page* Find4K(uint64_t address);
  // Calls visit(address, Page&) for each page of the range; visit must not add or remove pages.
  template <class Visit>
  void ForEachPage(Range range, Visit visit) {
    for (auto it = pages_.lower_bound(range.start); it != pages_.end() && it->first < range.end();
         ++it)
      visit(it->first, it->second);
  }
  void Put(uint64_t address, Page page);
  // Removes what stands there; a huge page that is cut loses its page-middle entry.
  void Zap(Range range);
  // DONTNEED: as Zap, but guards stay; frees page tables that it covers wholly and empties.
  void Discard(Range range);
  // Carries one page (or, with huge, the 512 of a slot) to an empty place.
  void Carry(uint64_t target, uint64_t source, bool huge);
  // The page-middle entry becomes a table of 512; the folio stays one.
  void SplitEntry(uint64_t address);
  // The 512 pages of the slot become one huge page, of this folio, with the same content.
  void MakeHuge(uint64_t slot, const std::shared_ptr<Folio>& folio);
  // The folio of this page becomes single pages.
  void SplitFolio(Page& page);
  bool HasTable(uint64_t address) const { return tables_.contains(Slot(address)); }
  void MakeTable(uint64_t address) { tables_.insert(Slot(address)); }
  bool IsHugeAt(uint64_t address);
  // Whether a first touch may bring a whole huge page.
  bool HugeFits(const Vma& vma, uint64_t address);

  // ---- nodes
  // From `node` if it has room, else from the next that has; null: all are full.
  std::shared_ptr<Folio> Allocate(int32_t node, uint64_t pages);
  std::shared_ptr<Folio> AllocateOn(int32_t node, uint64_t pages);  // there or nowhere
  std::vector<uint64_t>& free_pages() { return free_pages_; }

  static uint64_t Slot(uint64_t address) { return RoundDown(address, kHugeBytes); }
  const Options& options() const { return options_; }

 private:
  void SplitAt(uint64_t address);
  void Merge();
  void Remove(Range range, bool with_guards);

  const Options options_;
  void* reserved_ = nullptr;
  Range arena_;
  uint64_t origins_ = 0;
  uint64_t frames_ = uint64_t{1} << 20;
  std::vector<uint64_t> free_pages_;  // before pages_: folios give back to it when they die
  std::map<uint64_t, Vma> vmas_;      // by start
  std::map<uint64_t, Page> pages_;    // by address; a huge page has 512 entries
  std::set<uint64_t> tables_;         // slots that have a page table, even if it is empty
};

inline std::byte* BytesAt(uint64_t address) {
  return reinterpret_cast<std::byte*>(address);
}

}  // namespace drover::kernel::model
