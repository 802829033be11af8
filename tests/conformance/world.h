// A world is a kernel and an application on it. Every test of this folder runs in two of them, the
// real one and the model, and expects the same answers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kernel/kernel.h"

namespace drover::conformance {

struct Rights {
  bool read = true, write = true, execute = false;
};

// Files are in memory (memfd), but kDiskFile, which is private.
enum class Backing { kAnonymous, kSharedAnonymous, kPrivateFile, kSharedFile, kDiskFile };

// What a kernel may lack. The words name what is then untested.
enum class Ability {
  kGuards,            // MADV_GUARD_INSTALL, Linux 6.13
  kGuardBit,          // bit 58 of pagemap, Linux 6.15
  kHugePages,         // transparent, by madvise
  kZeroPages,         // what is only read has no page of its own
  kPageTableReclaim,  // DONTNEED frees page tables, Linux 6.14
  kPins,              // io_uring's fixed buffers
  kTwoNodes,
  kDiskFiles,     // a file system that is not in memory, under /tmp
  kRefusesParts,  // of pinned huge pages: other kernels try for ever, within the call
};

// Something that another thread of the application does and that may have to wait for the engine.
class Activity {
 public:
  virtual ~Activity() = default;
  virtual bool Done() = 0;
  virtual void Wait() = 0;
};

// A process forked off this one.
class Child {
 public:
  virtual ~Child() = default;                                      // ends it
  virtual std::optional<uint64_t> ReadWord(uint64_t address) = 0;  // nothing: SIGSEGV
};

class World {
 public:
  virtual ~World() = default;
  virtual kernel::Kernel& kernel() = 0;
  virtual bool Has(Ability ability) = 0;

  // ---- the application's memory. Map gives an address that is a multiple of 2 MiB, with other
  // mappings apart; nothing is populated.
  virtual uint64_t Map(uint64_t bytes, Rights rights = {}, Backing backing = {}) = 0;
  virtual void Protect(Range range, Rights rights) = 0;
  virtual void Lock(Range range) = 0;  // mlock2(MLOCK_ONFAULT): populates nothing
  virtual void Guard(Range range) = 0;
  virtual void WriteWord(uint64_t address, uint64_t value) = 0;
  virtual uint64_t ReadWord(uint64_t address) = 0;
  virtual void Pin(Range range) = 0;
  virtual void Unpin(Range range) = 0;
  // A second userfaultfd takes the range.
  virtual void RegisterElsewhere(Range range) = 0;

  // ---- on another thread
  virtual std::unique_ptr<Activity> StartTouch(uint64_t address, bool write) = 0;
  virtual std::unique_ptr<Activity> StartDiscard(Range range) = 0;  // MADV_DONTNEED
  virtual std::unique_ptr<Activity> StartUnmap(Range range) = 0;
  virtual std::unique_ptr<Activity> StartMapOver(Range range) = 0;  // MAP_FIXED
  // `*target` is known at once, and equal to the old address modulo 2 MiB.
  virtual std::unique_ptr<Activity> StartRemap(Range range, uint64_t* target) = 0;
  virtual std::unique_ptr<Activity> StartFork() = 0;
  // The child, once StartFork is done.
  virtual std::unique_ptr<Child> TakeChild() = 0;

  // Lets go of whoever still waits; the kernel is of no more use then.
  virtual void End() = 0;
};

std::unique_ptr<World> MakeRealWorld();
std::unique_ptr<World> MakeModelWorld();

}  // namespace drover::conformance
