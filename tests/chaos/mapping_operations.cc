// Changes of mappings, advice and rights.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "chaos/operations.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4  // Linux 5.7
#endif

namespace drover::chaos {
namespace {

bool Unmap(Target& target) {
  munmap(target.start(), target.bytes());
  target.slice.MapAnew(target.first, target.count);
  return true;
}
bool MapOver(Target& target) {
  target.slice.MapAnew(target.first, target.count);
  return true;
}

// There and back; what stands there in between is looked at.
bool MoveThereAndBack(Target& target, int flags) {
  char* there = target.slice.spare_at(target.first);
  constexpr int kHow = MREMAP_MAYMOVE | MREMAP_FIXED;
  if (mremap(target.start(), target.bytes(), target.bytes(), kHow | flags, there) != there)
    return false;
  for (uint64_t i = 0; i < target.count; ++i)
    if (!target.slice.IsRightAt(target.first + i, there + i * kPage)) target.wrong = true;
  if (mremap(there, target.bytes(), target.bytes(), kHow, target.start()) != target.start())
    target.wrong = true;  // nothing must stand in its way
  return true;
}
bool Remap(Target& target) {
  return MoveThereAndBack(target, 0);
}
bool RemapAndKeepMapping(Target& target) {
  return MoveThereAndBack(target, MREMAP_DONTUNMAP);
}

// realloc to less and to more: its end is cut off, and comes back empty.
bool ShrinkAndGrow(Target& target) {
  if (target.count < 2) return MapOver(target);
  const uint64_t kept = target.count / 2;
  char* start = target.start();
  if (mremap(start, target.bytes(), kept * kPage, 0) != start) return false;
  // Not in place where the kernel sees more than one mapping; then by a fresh one.
  const bool grown = mremap(start, kept * kPage, target.bytes(), 0) == start;
  if (!grown) target.slice.MapAnew(target.first + kept, target.count - kept);
  target.slice.SetZero(target.first + kept, target.count - kept);
  return true;
}

bool Advise(Target& target, int advice) {
  return madvise(target.start(), target.bytes(), advice) == 0;
}
// What throws pages away stops at the first mapping that is locked (by another thread's mlockall,
// say), and has done a part by then.
bool ThrowAway(Target& target, int advice) {
  if (Advise(target, advice)) return true;
  target.slice.SetEither(target.first, target.count);
  return false;
}
bool Discard(Target& target) {
  if (!ThrowAway(target, MADV_DONTNEED)) return false;
  target.slice.SetZero(target.first, target.count);
  return true;
}
// An allocator that gives memory back and takes it again.
bool GiveAndTake(Target& target) {
  constexpr int kTimes = 8;
  for (int i = 0; i < kTimes; ++i) {
    if (!Discard(target)) return false;
    const uint64_t page = target.first + target.random.Below(target.count);
    if (!target.slice.IsRight(page)) target.wrong = true;
    for (uint64_t k = 0; k < target.count; ++k)
      target.slice.Write(target.first + k, target.random.Next());
  }
  return true;
}
bool Free(Target& target) {
  if (!ThrowAway(target, MADV_FREE)) return false;
  target.slice.SetEither(target.first, target.count);
  return true;
}
bool AdviseHuge(Target& target) {
  return Advise(target, MADV_HUGEPAGE) &&
         Advise(target, target.slice.huge() ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}
// Refused while the range is watched, or has too little in it.
bool Collapse(Target& target) {
  if (!target.slice.huge()) return false;
  constexpr uint64_t kHuge = 2u << 20;
  const auto start = reinterpret_cast<uint64_t>(target.start()) / kHuge * kHuge;
  (void)madvise(reinterpret_cast<void*>(start), kHuge, MADV_COLLAPSE);
  return true;
}
bool Cold(Target& target) {
  return Advise(target, MADV_COLD);
}
bool PageOut(Target& target) {
  return Advise(target, MADV_PAGEOUT);
}
bool Populate(Target& target) {
  return Advise(target, MADV_POPULATE_WRITE);
}
// MADV_REMOVE is for shared memory: the range becomes that, loses its pages, and is private again.
bool RemoveShared(Target& target) {
  constexpr int kHow = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
  constexpr int kRights = PROT_READ | PROT_WRITE;
  if (mmap(target.start(), target.bytes(), kRights, kHow, -1, 0) == MAP_FAILED) return false;
  for (uint64_t i = target.first; i < target.first + target.count; ++i)
    target.slice.Write(i, target.random.Next());
  const bool removed = Advise(target, MADV_REMOVE);
  // Not from what another thread's mlockall has locked meanwhile.
  if (!removed && errno != EINVAL) {
    target.wrong = true;
    target.error = errno;
  }
  if (removed) target.slice.SetZero(target.first, target.count);
  if (target.slice.CountWrong(target.first, target.count) > 0) target.wrong = true;
  target.slice.MapAnew(target.first, target.count);
  return true;
}
bool NotForChildren(Target& target) {
  return Advise(target, MADV_DONTFORK) && Advise(target, MADV_DOFORK);
}
bool Guards(Target& target) {
  if (!ThrowAway(target, MADV_GUARD_INSTALL)) {
    (void)Advise(target, MADV_GUARD_REMOVE);
    return false;
  }
  if (!Advise(target, MADV_GUARD_REMOVE)) target.wrong = true;
  target.slice.SetZero(target.first, target.count);
  return true;
}

bool Protect(Target& target, int rights) {
  if (mprotect(target.start(), target.bytes(), rights) != 0) return false;
  if ((rights & PROT_READ) != 0 && target.slice.CountWrong(target.first, target.count) > 0)
    target.wrong = true;
  if (mprotect(target.start(), target.bytes(), PROT_READ | PROT_WRITE) != 0) target.wrong = true;
  return true;
}
bool ProtectAll(Target& target) {
  return Protect(target, PROT_NONE);
}
bool ProtectWrites(Target& target) {
  return Protect(target, PROT_READ);
}
// One key for all threads; what it allows is each thread's own. mprotect by itself would leave it.
bool GiveKey(Target& target) {
  static const int key = pkey_alloc(0, 0);
  if (key < 0 || pkey_set(key, 0) != 0) return false;
  constexpr int kRights = PROT_READ | PROT_WRITE;
  if (pkey_mprotect(target.start(), target.bytes(), kRights, key) != 0) return false;
  target.wrong = target.slice.CountWrong(target.first, target.count) > 0;
  return pkey_mprotect(target.start(), target.bytes(), kRights, 0) == 0;
}

bool Lock(Target& target) {
  if (mlock(target.start(), target.bytes()) != 0) return false;
  munlock(target.start(), target.bytes());
  return true;
}
bool LockOnFault(Target& target) {
  if (mlock2(target.start(), target.bytes(), MLOCK_ONFAULT) != 0) return false;
  munlock(target.start(), target.bytes());
  return true;
}
bool LockAll(Target&) {
  if (mlockall(MCL_CURRENT) != 0) return false;
  munlockall();
  return true;
}

constexpr Operation kMappingOperations[] = {
    {"unmap", Unmap},
    {"map-over", MapOver},
    {"mremap", Remap},
    {"mremap-dontunmap", RemapAndKeepMapping},
    {"shrink-and-grow", ShrinkAndGrow},
    {"discard", Discard},
    {"give-and-take", GiveAndTake},
    {"free", Free},
    {"remove", RemoveShared},
    {"advise-huge", AdviseHuge},
    {"collapse", Collapse},
    {"cold", Cold},
    {"page-out", PageOut},
    {"populate", Populate},
    {"not-for-children", NotForChildren},
    {"guards", Guards},
    {"protect-all", ProtectAll},
    {"protect-writes", ProtectWrites},
    {"key", GiveKey},
    {"mlock", Lock},
    {"mlock-onfault", LockOnFault},
    {"mlockall", LockAll, 3},
};

}  // namespace

std::span<const Operation> MappingOperations() {
  return kMappingOperations;
}

}  // namespace drover::chaos
