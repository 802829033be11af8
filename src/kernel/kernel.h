// Every kernel service that drover's core uses, and nothing else.
//
// Rules for all of them:
//  - An error comes back as a value; none of them aborts, throws, allocates from a heap or logs.
//  - Addresses and lengths are bytes and multiples of the page size unless said otherwise.
//  - All are called from engine threads only. Any of them may be called from several engine
//    threads at once; what must not overlap (moves, reading messages) the flow orders by its lock.
//  - An interrupted call (EINTR) is repeated inside, so no caller ever sees kInterrupted.
//
// Forms: linux_kernel.h (real), model/model_kernel.h (a model for tests), failing_kernel.h (any of
// them, with the n-th call failing). The facts behind the contracts: include/uapi/linux of Linux
// 6.18, mm/userfaultfd.c, fs/proc/task_mmu.c.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/types.h"

namespace drover::kernel {

// Stands for "the descriptor of this process" where a child's descriptor may stand, too.
inline constexpr int kOwnUserfault = -1;

struct Switches {
  uint64_t voluntary = 0, involuntary = 0;
};

class Kernel {
 public:
  // ---- userfaultfd (one descriptor with events, opened and shaken hands with before)

  // Registers part of one or several mappings. MISSING: a touch of an absent page waits for us.
  // kBusy: another userfaultfd has it. Splits the mapping while it lasts.
  [[nodiscard]] virtual Errno Register(Range range, RegisterMode mode) = 0;
  // Also wakes whoever waits in the range.
  [[nodiscard]] virtual Errno Unregister(Range range) = 0;
  // UFFDIO_MOVE: page-table entries move from source to target; the target must be registered,
  // both must lie in one mapping each. Wakes the waiters of what it moved. See MoveAnswer.
  // kAgain with nothing moved: a change of mappings is under way; read all messages, then retry.
  [[nodiscard]] virtual MoveAnswer Move(uint64_t target, uint64_t source, uint64_t length) = 0;
  // UFFDIO_COPY of one page. Fills read-only and locked ranges, too; silently destroys a guard.
  // `userfault`: kOwnUserfault, or a child's descriptor from a kFork message.
  [[nodiscard]] virtual Errno CopyPage(int userfault, uint64_t target, uint64_t source) = 0;
  // UFFDIO_COPY of several pages, to where nothing is, in one registered mapping; as CopyPage. See
  // MoveAnswer. kAgain with nothing filled: a change of mappings is under way. Any thread.
  [[nodiscard]] virtual MoveAnswer Fill(uint64_t target, uint64_t source, uint64_t length) = 0;
  // UFFDIO_ZEROPAGE of one page, and a wake. kExists: somebody was faster.
  [[nodiscard]] virtual Errno ZeroPage(uint64_t target) = 0;
  [[nodiscard]] virtual Errno Wake(Range range) = 0;
  // The next message; kAgain: none.
  [[nodiscard]] virtual Result<Message> ReadMessage() = 0;
  // Sleeps until a message may be there, or InterruptWait was called.
  virtual void WaitForMessage() = 0;
  // Makes a WaitForMessage in another thread return, now or at its next call.
  virtual void InterruptWait() = 0;
  // The same of a child's descriptor, from a kFork message. A child that changes its mappings waits
  // until this has been read, and its descriptor answers kAgain till then.
  [[nodiscard]] virtual Result<Message> ReadChildMessage(int userfault) = 0;
  // `registered`: what is registered of the child, as far as is known; let go of first. Whoever
  // faults on what is still registered while a descriptor is being closed asks again and again
  // without giving up its CPU (handle_userfault: `released`), also where the closing thread waits
  // for that CPU: a lockup, where the kernel is not preemptible.
  virtual void CloseChild(int userfault, Range registered) = 0;

  // ---- what the page table says

  // PAGEMAP_SCAN: runs of pages that have all `required` categories and none of `forbidden`;
  // each region carries the bits of `report` that it has. Fills `regions` and stops when it is
  // full; `*walk_end` is where to go on (range.end() when done). Returns the number of regions.
  [[nodiscard]] virtual Result<uint64_t> Scan(Range range, uint64_t required, uint64_t forbidden,
                                              uint64_t report, std::span<PageRegion> regions,
                                              uint64_t* walk_end) = 0;
  // pagemap entries of entries.size() pages from `start` on.
  [[nodiscard]] virtual Errno ReadEntries(uint64_t start, std::span<PageEntry> entries) = 0;
  // The mapping that holds `address`, or else the next one above; kNoEntry: none.
  [[nodiscard]] virtual Result<Mapping> NextMapping(uint64_t address) = 0;

  // Reads memory of the process as a debugger would, so that what is gone is an error and no
  // signal. A page that is absent comes in, as by a read. (Half to a quarter as fast as a plain
  // copy.)
  [[nodiscard]] virtual Errno ReadMemory(uint64_t from, uint64_t to, uint64_t length) = 0;

  // ---- nodes

  // The node of each page (addresses.size() == nodes.size()), or a negative error number per page.
  [[nodiscard]] virtual Errno QueryNodes(std::span<const uint64_t> addresses,
                                         std::span<int32_t> nodes) = 0;
  // move_pages(2). `status` must be preset by the caller: a failed call leaves parts unwritten.
  // The positive count of pages that did not move comes back as the value.
  [[nodiscard]] virtual Result<int64_t> MovePages(std::span<const uint64_t> addresses,
                                                  std::span<const int32_t> nodes,
                                                  std::span<int32_t> status, Whose whose) = 0;
  // mbind(MPOL_PREFERRED): fresh pages of the range come from `node` while it has any.
  // An invalid node (id -1) takes the preference away.
  [[nodiscard]] virtual Errno PreferNode(Range range, Node node) = 0;

  // ---- the engine's own memory

  // The mappings that are so marked; returns how many there are (may exceed ranges.size()). Costs a
  // walk of all page tables.
  [[nodiscard]] virtual Result<uint64_t> ListMarked(Marked how, std::span<Range> ranges) = 0;
  // Private anonymous, readable and writable, not populated. 4 KiB aligned. At `wish` where that is
  // free, else anywhere; 0: no wish.
  [[nodiscard]] virtual Result<uint64_t> MapAt(uint64_t wish, uint64_t bytes) = 0;
  [[nodiscard]] Result<uint64_t> Map(uint64_t bytes) { return MapAt(0, bytes); }
  virtual void Unmap(Range range) = 0;
  [[nodiscard]] virtual Errno Advise(Range range, Advice advice) = 0;
  // Faults in what is absent at every `step`-th byte of the range, which is the engine's own and
  // not registered, by a plain store of 0: unlike kPopulateWrite not under the mmap lock, where the
  // kernel has locks for each mapping (Linux 6.4), so that nobody waits while a page is cleared.
  // Where there is no memory the kernel kills: look first.
  virtual void FaultIn(Range range, uint64_t step) = 0;
  // mprotect. Takes the mmap lock for writing, which waits for everybody who is writing through
  // /proc/PID/mem or ptrace.
  [[nodiscard]] virtual Errno Protect(Range range, bool writable) = 0;
  // MADV_COLLAPSE (Linux 6.1): the small pages of a 2 MiB slot, of one mapping, become one huge
  // page on the node where most of them are; by the kernel, with the mmap lock held for writing
  // while it copies. What is absent there is filled with zeros, and what is shared is copied. Also
  // of another process (process_madvise; CAP_SYS_NICE, and the right to look at it);
  // Advice::kCollapse is the same of the engine's own memory. kNoMemory: no huge page to be had;
  // kBusy: not within the memory limit; kAgain: a page is in use otherwise; kInvalid: huge pages
  // are switched off there, something else is in the way, or the kernel does not know the call
  // (madvise_collapse_errno).
  [[nodiscard]] virtual Errno Collapse(uint64_t slot) = 0;
  // munlock: an application's mlockall may have locked the engine's areas.
  [[nodiscard]] virtual Errno Unlock(Range range) = 0;

  // ---- threads, files, time

  // Thread ids of the process; returns how many there are (may exceed ids.size()).
  [[nodiscard]] virtual Result<uint64_t> ListThreads(std::span<int32_t> ids) = 0;
  // Address of the thread's robust list head, which stands inside its control block; 0: none
  // (a thread that libc did not make).
  [[nodiscard]] virtual Result<uint64_t> RobustListOf(int32_t thread) = 0;
  // Reads a whole small file; returns the bytes read (at most buffer.size()).
  [[nodiscard]] virtual Result<uint64_t> ReadFile(const char* path, std::span<char> buffer) = 0;
  // Calls `visit` with each open descriptor of the process and what it stands for (the target of
  // its link in /proc/PID/fd, such as "/dev/fuse" or "anon_inode:[userfaultfd]").
  using Visit = void (*)(void* context, int descriptor, std::string_view target);
  [[nodiscard]] virtual Errno VisitDescriptors(Visit visit, void* context) = 0;
  // What kind of socket a descriptor of the process is. kPerm: it may not be looked at.
  [[nodiscard]] virtual Result<SocketKind> LookAtSocket(int descriptor) = 0;
  // How often the calling thread has given up its CPU, and lost it against its will (getrusage).
  virtual Switches CountSwitches() = 0;
  // CLOCK_MONOTONIC.
  virtual uint64_t NowNs() = 0;
  virtual uint64_t ThreadCpuNs() = 0;  // CPU time of the calling thread
  // Binds the calling thread to the CPU that it runs on, until UnpinThread.
  virtual void PinThread() = 0;
  virtual void UnpinThread() = 0;
  // The calling thread runs from now on only on `cpu`; negative: on any.
  virtual void RunOn(int32_t cpu) = 0;
  // The same, and only where nothing else wants to (SCHED_IDLE).
  virtual void BecomeHelper(int32_t cpu) = 0;
  // That thread may run wherever the calling one may, and as soon as any other, if the process has
  // the right to say so.
  virtual void LetHelperRun(int32_t thread) = 0;
  virtual int32_t ThreadId() = 0;
  // The calling thread leaves these CPUs to others, where it may run on any other; an empty list
  // takes that back.
  virtual void KeepOff(std::span<const int16_t> cpus) = 0;

 protected:
  ~Kernel() = default;
};

}  // namespace drover::kernel
