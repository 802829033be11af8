#include "kernel/model/move.h"

namespace drover::kernel::model {
namespace {

using Kind = Page::Kind;

bool SameRights(const Attributes& a, const Attributes& b) {
  return a.readable == b.readable && a.writable == b.writable && a.executable == b.executable;
}

// validate_move_areas, and what move_pages looks at before it.
Errno CheckMappings(const Vma& target_vma, const Vma& source_vma, Range target, Range source) {
  const Attributes& to = target_vma.attributes;
  const Attributes& from = source_vma.attributes;
  if (from.shared || to.shared) return Errno::kInvalid;
  if (!source_vma.range.Contains(source) || !target_vma.range.Contains(target))
    return Errno::kInvalid;
  if (!SameRights(from, to) || from.locked != to.locked || from.keyed != to.keyed || !from.writable)
    return Errno::kInvalid;
  if (to.registered == 0 || to.foreign_userfault) return Errno::kInvalid;
  if (!from.anonymous() || !to.anonymous() || from.special || to.special) return Errno::kInvalid;
  return Errno::kOk;
}

// move_pages_pte
Errno MoveSmall(Machine& machine, uint64_t target, uint64_t source) {
  AddressSpace& space = machine.space;
  if (space.Find4K(target) != nullptr) return Errno::kExists;
  Page* page = space.Find4K(source);
  if (page == nullptr) return Errno::kNoEntry;
  switch (page->kind) {
    case Kind::kGuard:
      return Errno::kFault;
    case Kind::kZero:
      break;  // made anew at the target
    case Kind::kFile:
      return Errno::kBusy;
    case Kind::kSwapped:
      if (!page->exclusive) return Errno::kBusy;
      break;
    case Kind::kAnonymous:
      if (!page->exclusive) return Errno::kBusy;
      if (page->folio->pins > 0 && page->folio->pages > 1)
        machine.Complain("MOVE of a part of a pinned huge page: Linux 6.12 spins in the call");
      if (page->folio->pins > 0) return Errno::kBusy;
      if (page->folio->pages > 1) space.SplitFolio(*page);
      break;
  }
  space.Carry(target, source, false);
  return Errno::kOk;
}

// move_pages_huge_pmd
Errno MoveHuge(Machine& machine, uint64_t target, uint64_t source) {
  const Page& page = *machine.space.Find4K(source);
  if (page.kind == Kind::kZero) {
    machine.Complain("MOVE of a huge zero page corrupts the page table (CVE-2026-31397)");
  } else if (!page.exclusive || page.folio->pins > 0) {
    return Errno::kBusy;
  }
  machine.space.Carry(target, source, true);
  return Errno::kOk;
}

// One step of the loop in move_pages: a huge page, or one small one. The kernel goes on up to the
// border of a slot at a time; in steps of a page the answers are the same.
Errno Step(Machine& machine, uint64_t target, uint64_t source, uint64_t left_bytes,
           uint64_t* step_bytes) {
  AddressSpace& space = machine.space;
  *step_bytes = kPageBytes;
  if (space.IsHugeAt(target)) return Errno::kExists;
  if (space.IsHugeAt(source)) {
    const bool whole = target % kHugeBytes == 0 && source % kHugeBytes == 0 &&
                       left_bytes >= kHugeBytes && !space.HasTable(target);
    if (whole) {
      *step_bytes = kHugeBytes;
      return MoveHuge(machine, target, source);
    }
    const Page& page = *space.Find4K(source);
    if (page.kind != Kind::kZero && !page.exclusive) return Errno::kBusy;
    space.SplitEntry(source);
  }
  if (!space.HasTable(source)) return Errno::kNoEntry;
  space.MakeTable(target);  // before any check of the page: a refusal leaves it behind
  return MoveSmall(machine, target, source);
}

}  // namespace

MoveAnswer MovePages(Machine& machine, uint64_t target, uint64_t source, uint64_t length) {
  const Vma* target_vma = machine.space.Find(target);
  const Vma* source_vma = machine.space.Find(source);
  if (target_vma == nullptr || source_vma == nullptr) return {Errno::kNoEntry, 0};
  if (const Errno error =
          CheckMappings(*target_vma, *source_vma, {target, length}, {source, length});
      error != Errno::kOk)
    return {error, 0};
  uint64_t moved = 0, step_bytes = 0;
  while (moved < length) {
    const Errno error = Step(machine, target + moved, source + moved, length - moved, &step_bytes);
    if (error != Errno::kOk) return {moved > 0 ? Errno::kAgain : error, moved};
    moved += step_bytes;
  }
  return {Errno::kOk, moved};
}

}  // namespace drover::kernel::model
