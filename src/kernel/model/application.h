// The application's face of the model: what the threads of the process, its children and devices do
// to its memory while the engine works.
//
// What may have to wait comes in two forms. Start...() returns at once with a number; Finished()
// and Wait() tell the end. The plain form starts and waits, so it belongs on a thread of its own
// where the engine has to answer first.
#pragma once

#include <optional>
#include <span>

#include "kernel/model/machine.h"

namespace drover::kernel::model {

class Application {
 public:
  struct MapOptions {
    bool readable = true, writable = true, executable = false;
    bool shared = false, stack = false, special = false;
    bool file = false;  // a file in memory (memfd, tmpfs), or with on_disk another one
    bool on_disk = false;
    bool locked = false;
    bool keyed = false;
    bool huge_advised = false;
    bool foreign_userfault = false;
    uint64_t offset = 0;  // address modulo 2 MiB
  };

  explicit Application(Machine& machine) : machine_(machine) {}

  // ---- mappings; none of these waits. 0: no room.
  uint64_t Map(uint64_t bytes) { return Map(bytes, MapOptions()); }
  uint64_t Map(uint64_t bytes, const MapOptions& options);
  void Protect(Range range, bool readable, bool writable, bool executable);
  void ForbidHuge(Range range);  // MADV_NOHUGEPAGE
  // mlock: populates, but for absent pages that are watched (there a real mlock waits).
  void Lock(Range range);
  void LockOnFault(Range range);  // mlock2(MLOCK_ONFAULT): populates nothing
  void LockAll();                 // mlockall(MCL_CURRENT): the engine's areas, too
  void Unlock(Range range);
  // mremap to a larger length in place: no event, and the new part is what the mapping is. The room
  // behind must be free.
  void Grow(Range mapping, uint64_t more_bytes);
  void AdviseHuge(Range range);
  void AdviseDontFork(Range range);
  void AdviseWipeOnFork(Range range);
  void Guard(Range range);  // MADV_GUARD_INSTALL

  void RegisterElsewhere(Range range);  // a userfaultfd of the application's own

  // ---- content. A first touch makes the page (of 2 MiB where advised and possible). The text is
  // the same for all threads; false or nothing: SIGSEGV.
  bool Write(uint64_t address, std::span<const std::byte> content, int32_t thread = 1);
  bool WriteWord(uint64_t address, uint64_t value, int32_t thread = 1);
  std::optional<uint64_t> ReadWord(uint64_t address, int32_t thread = 1);
  // Every word of the range, from a seed: Fill writes, Check counts the words that differ.
  void Fill(Range range, uint64_t seed);
  uint64_t CountWrong(Range range, uint64_t seed);
  void SwapOut(Range range);
  void PlaceOn(Range range, Node node);  // where its pages are, without anybody's asking

  // ---- what may wait
  uint64_t StartTouch(uint64_t address, bool write, int32_t thread = 1);
  uint64_t StartDiscard(Range range);  // MADV_DONTNEED
  uint64_t StartUnmap(Range range);
  uint64_t StartMapOver(Range range);  // MAP_FIXED: fresh memory in its place
  // With `more_bytes` the new mapping is that much longer; the event carries the old length.
  uint64_t StartRemap(Range range, uint64_t* target, uint64_t more_bytes = 0);
  uint64_t StartFork();  // the number is also the child's
  bool Finished(uint64_t action);
  ActionState Wait(uint64_t action);

  // ---- children
  // Nothing: SIGSEGV. Waits in a hole until it is filled or its descriptor is closed.
  std::optional<uint64_t> ChildReadWord(uint64_t child, uint64_t address);
  void EndChild(uint64_t child);
  bool IsInherited(uint64_t address);  // would a child have it
  // A fork of which the engine hears nothing, because nothing was registered then.
  uint64_t Share(Range range);

  // ---- devices and other processes
  void Pin(Range range);  // FOLL_PIN, as a fixed buffer of io_uring
  void Unpin(Range range);
  // A write through a plain reference that is under way. With waits_for_lock it ends at the latest
  // when somebody takes the mmap lock for writing (/proc/PID/mem, ptrace).
  void StartForeignWrite(uint64_t address, std::byte value, bool waits_for_lock);
  void FinishForeignWrites();
  void FinishForeignWrite();     // the one that was started first
  uint64_t ForeignWritesLost();  // into pages that were freed meanwhile

 private:
  void PopulateLocked(Range range);
  // Raises `message` and returns its action, which has ended if nobody hears of it.
  uint64_t Announce(const std::vector<Message>& messages);
  std::vector<Message> MessagesFor(Range range, Message::Kind kind, uint64_t feature,
                                   uint64_t target);
  void ShareWith(Child* child, Range range);
  // Waits until the page can be touched, then touches it; holds the lock afterwards.
  bool TouchAndWait(std::unique_lock<std::mutex>& lock, uint64_t address, bool write,
                    int32_t thread);

  Machine& machine_;
};

}  // namespace drover::kernel::model
