// The real kernel, by raw system calls on the calling process or, for what can be asked and done
// from outside (page table, mappings, nodes, move_pages), on another one. Freestanding.
//
// It owns five descriptors; which table they stand in is the caller's business (an agent's first
// engine thread has one of its own, because a daemon's close_range must not reach them).
#pragma once

#include <time.h>

#include "kernel/cpu_mask.h"
#include "kernel/kernel.h"

namespace drover::kernel {

class LinuxKernel final : public Kernel {
 public:
  struct Descriptors {
    int userfault = -1;
    int pagemap = -1;
    int maps = -1;
    int interrupt = -1;  // an eventfd that ends WaitForMessage
    int memory = -1;     // only after OpenMemory
  };

  // Opens all but the last for the calling process, with kernel-mode faults handled. kPerm: no
  // right to userfaultfd (it needs CAP_SYS_PTRACE, vm.unprivileged_userfaultfd=1 or
  // /dev/userfaultfd), or none to EVENT_FORK when `features` has it. kInvalid: the kernel lacks a
  // feature.
  [[nodiscard]] Errno OpenSelf(uint64_t features);
  // Another process: its pagemap and maps; no userfaultfd. kNoProcess, kAccess, kPerm.
  [[nodiscard]] Errno OpenProcess(int32_t pid);
  // The parts of OpenSelf, for a process that gets some descriptors from elsewhere.
  [[nodiscard]] Errno OpenFiles();  // pagemap, maps, interrupt; keeps what is already open
  // ReadMemory goes by /proc/self/mem from now on, also after the process has given up its rights;
  // for a house with a table of descriptors of its own, because a child that inherited this one
  // could read its parent. Without it: by process_vm_readv(2), which a sandbox may forbid.
  void OpenMemory();
  [[nodiscard]] static Result<int> OpenUserfault();
  [[nodiscard]] static Result<int> NewUserfaultFrom(int device);  // an open /dev/userfaultfd
  [[nodiscard]] static Errno ShakeHands(int userfault, uint64_t features);
  void Close();
  // NowNs goes by this function from now on, if it is not nullptr: as clock_gettime(2), but without
  // a call into the kernel, which costs up to a microsecond and a half, forty times a batch.
  using Clock = int (*)(int32_t which, timespec* now);
  void UseClock(Clock clock) { clock_ = clock; }

  Descriptors& descriptors() { return descriptors_; }
  const Descriptors& descriptors() const { return descriptors_; }

  Errno Register(Range range, RegisterMode mode) override;
  Errno Unregister(Range range) override;
  MoveAnswer Move(uint64_t target, uint64_t source, uint64_t length) override;
  Errno CopyPage(int userfault, uint64_t target, uint64_t source) override;
  MoveAnswer Fill(uint64_t target, uint64_t source, uint64_t length) override;
  Errno ZeroPage(uint64_t target) override;
  Errno Wake(Range range) override;
  Result<Message> ReadMessage() override;
  void WaitForMessage() override;
  void InterruptWait() override;
  Result<Message> ReadChildMessage(int userfault) override;
  void CloseChild(int userfault, Range registered) override;
  Result<uint64_t> Scan(Range range, uint64_t required, uint64_t forbidden, uint64_t report,
                        std::span<PageRegion> regions, uint64_t* walk_end) override;
  Errno ReadEntries(uint64_t start, std::span<PageEntry> entries) override;
  Result<Mapping> NextMapping(uint64_t address) override;
  Errno ReadMemory(uint64_t from, uint64_t to, uint64_t length) override;
  Errno QueryNodes(std::span<const uint64_t> addresses, std::span<int32_t> nodes) override;
  Result<int64_t> MovePages(std::span<const uint64_t> addresses, std::span<const int32_t> nodes,
                            std::span<int32_t> status, Whose whose) override;
  Errno PreferNode(Range range, Node node) override;
  Result<uint64_t> MapAt(uint64_t wish, uint64_t bytes) override;
  void Unmap(Range range) override;
  Errno Advise(Range range, Advice advice) override;
  void FaultIn(Range range, uint64_t step) override;
  Errno Collapse(uint64_t slot) override;
  Errno Protect(Range range, bool writable) override;
  Errno Unlock(Range range) override;
  Result<uint64_t> ListThreads(std::span<int32_t> ids) override;
  Result<uint64_t> RobustListOf(int32_t thread) override;
  Result<uint64_t> ReadFile(const char* path, std::span<char> buffer) override;
  Errno VisitDescriptors(Visit visit, void* context) override;
  Result<SocketKind> LookAtSocket(int descriptor) override;
  Result<uint64_t> ListMarked(Marked how, std::span<Range> ranges) override;
  Switches CountSwitches() override;
  uint64_t NowNs() override;
  uint64_t ThreadCpuNs() override;
  void PinThread() override;
  void UnpinThread() override;
  void RunOn(int32_t cpu) override;
  void BecomeHelper(int32_t cpu) override;
  void LetHelperRun(int32_t thread) override;
  int32_t ThreadId() override;
  void KeepOff(std::span<const int16_t> cpus) override;

 private:
  Result<uint64_t> ScanEntries(Range range, uint64_t required, uint64_t forbidden, uint64_t report,
                               std::span<PageRegion> regions, uint64_t* walk_end);

  Result<int> OpenSmaps() const;

  Descriptors descriptors_;
  Clock clock_ = nullptr;
  int32_t pid_ = 0;  // 0: the calling process
  // Of the mover: one thread pins, and keeps off CPUs, at a time.
  bool pinned_ = false, keeps_off_ = false;
  CpuMask allowed_cpus_, before_keeping_off_;
};

}  // namespace drover::kernel
