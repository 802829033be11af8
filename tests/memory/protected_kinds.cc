// Private memory with rights, keys, locks and guards of its own.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "memory/kinds.h"

namespace drover::memory {
namespace {

Made WithRights(int protection) {
  Made made = Stamped();
  mprotect(made.start, made.bytes, protection);
  return made;
}
Made ReadOnly() {
  return WithRights(PROT_READ);
}
Made NoRights() {
  return WithRights(PROT_NONE);
}
Made Executable() {
  return WithRights(PROT_READ | PROT_WRITE | PROT_EXEC);
}

// Pages of no rights in the midst of others, as allocators and stacks have them.
Made GuardOfNoRights() {
  Made made = Stamped();
  constexpr size_t kFirst = 16 * kPage, kBytes = 4 * kPage;
  madvise(made.start + kFirst, kBytes, MADV_DONTNEED);
  mprotect(made.start + kFirst, kBytes, PROT_NONE);
  made.undo = [](const Made& self) {
    mprotect(self.start + kFirst, kBytes, PROT_READ | PROT_WRITE);
    Stamp(self.start + kFirst, kBytes);
  };
  return made;
}

Made OwnKey() {
  Made made = Stamped();
  const int key = pkey_alloc(0, 0);
  if (key < 0) return Cannot("the processor has no protection keys");
  pkey_mprotect(made.start, made.bytes, PROT_READ | PROT_WRITE, key);
  return made;
}

Made Locked() {
  Made made = Stamped();
  return mlock(made.start, made.bytes) == 0 ? made : Cannot("mlock is not allowed");
}
Made LockedOnFault() {
  Made made = Stamped();
  return mlock2(made.start, made.bytes, MLOCK_ONFAULT) == 0 ? made
                                                            : Cannot("mlock2 is not allowed");
}
Made MappedLocked() {
  constexpr size_t kBytes = 64 * kPage;
  char* start = Map(kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED);
  Stamp(start, kBytes);
  return {start, kBytes};
}
// Whatever is mapped from now on is locked: the engine's own areas, too.
Made AllLockedInFuture() {
  if (mlockall(MCL_FUTURE) != 0) return Cannot("mlockall is not allowed");
  return Stamped();
}

Made AllLockedNow() {
  Made made = Stamped();
  if (mlockall(MCL_CURRENT) != 0) return Cannot("mlockall is not allowed");
  return made;
}

constexpr Kind kProtectedKinds[] = {
    {"read-only", "PROT_READ", ReadOnly},
    {"no-rights", "PROT_NONE, with pages", NoRights},
    {"executable", "readable, writable and executable", Executable},
    {"guard-of-no-rights", "with a PROT_NONE guard in its midst", GuardOfNoRights},
    {"own-key", "with a protection key of its own", OwnKey},
    {"mlock", "mlock", Locked},
    {"mlock-onfault", "mlock2(MLOCK_ONFAULT)", LockedOnFault},
    {"map-locked", "MAP_LOCKED", MappedLocked},
    {"mlockall-current", "mlockall(MCL_CURRENT)", AllLockedNow},
    {"mlockall-future", "after mlockall(MCL_FUTURE)", AllLockedInFuture},
};

}  // namespace

std::span<const Kind> ProtectedKinds() {
  return kProtectedKinds;
}

}  // namespace drover::memory
