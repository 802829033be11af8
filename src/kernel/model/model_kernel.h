// A model of the kernel, for tests that need no rights, no second node and no luck. It answers as
// Linux 6.18 does; one suite (tests/conformance) asks it and the real kernel the same questions.
//
// It has two faces on one Machine: this class, which the engine sees, and the application
// (application()), whose threads go through methods, because a touch of a hole through a plain
// pointer cannot be trapped. Every call of either may come from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "kernel/kernel.h"
#include "kernel/model/application.h"
#include "kernel/model/machine.h"

namespace drover::kernel {

class ModelKernel final : public Kernel {
 public:
  using Options = model::Options;
  using Call = model::Call;

  ModelKernel() : ModelKernel(Options()) {}
  explicit ModelKernel(const Options& options) : machine_(options), application_(machine_) {}

  model::Application& application() { return application_; }

  // ---- switches

  // The n-th MOVE from now on that moves anything (1: the next) moves all it can and denies it:
  // kExists with 0 bytes, or, with told_bytes > 0, kAgain with that many. Linux 6.18 does so when
  // an entry changes under the move. Whoever waits for these pages is not woken.
  void DenyNextMove(uint64_t nth = 1, uint64_t told_bytes = 0);
  // A discard takes effect this many calls after its event was read, not at once.
  void SetDiscardDelay(uint64_t calls);
  // Those that are under way take effect now.
  void FinishDiscards();
  // MOVE, COPY and ZEROPAGE say kAgain this often even after the event was read: the thread that
  // raised it has to run before the kernel lets moves in again.
  void SetLingeringAgain(uint64_t calls);
  // Called before every call, unlocked, with how often this kind of call has come (1: first). So
  // a test lets the application act at an exact place of the flow.
  void SetHook(std::function<void(Call, uint64_t nth)> hook);
  void SetHugePagesLeft(bool left);  // false: no free 2 MiB block anywhere
  void SetClock(std::function<uint64_t()> clock) { clock_ = std::move(clock); }  // for NowNs
  void RefuseReads(bool refuse) { refuse_reads_ = refuse; }                      // by ReadMemory
  void SetLocalNode(Node node);  // where memory comes from if nothing is preferred
  uint64_t FreePages(Node node);
  void SetFreePages(Node node, uint64_t pages);
  void AddThread(int32_t id, uint64_t robust_list);
  void EndThread(int32_t id);
  void SetFile(const std::string& path, const std::string& text);

  // They are numbered from 0 on.
  void AddDescriptor(const std::string& target, SocketKind kind = SocketKind::kOrdinary);

  uint64_t Calls(Call call);
  uint64_t UnreadMessages();
  // Pages that were there when a watch for write protection ended: the real kernel changes the
  // entry of each.
  uint64_t EntriesUnprotected();
  // What the real kernel would answer with a hang, a kill or a corrupted page table. A test of the
  // engine expects this to be empty.
  std::vector<std::string> Complaints();

  Errno Register(Range range, RegisterMode mode) override;
  Errno Unregister(Range range) override;
  MoveAnswer Move(uint64_t target, uint64_t source, uint64_t length) override;
  MoveAnswer Fill(uint64_t target, uint64_t source, uint64_t length) override;
  Errno CopyPage(int userfault, uint64_t target, uint64_t source) override;
  Errno ZeroPage(uint64_t target) override;
  Errno Wake(Range range) override;
  Result<Message> ReadMessage() override;
  void WaitForMessage() override;
  void InterruptWait() override;
  // The model's children do not change their mappings: always kAgain.
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
  Switches CountSwitches() override { return {}; }
  uint64_t NowNs() override;
  uint64_t ThreadCpuNs() override;
  void PinThread() override { pinned_ = true; }
  void UnpinThread() override { pinned_ = false; }
  void RunOn(int32_t) override { BeginHelper(); }
  void BecomeHelper(int32_t) override { BeginHelper(); }
  // Called on each helper before it begins. Set before the job.
  void SetBeforeHelper(std::function<void()> before) { before_helper_ = std::move(before); }
  void LetHelperRun(int32_t) override { --helpers_held_; }
  int32_t ThreadId() override;
  void KeepOff(std::span<const int16_t> cpus) override { kept_off_ = cpus.size(); }
  bool pinned() const { return pinned_; }
  uint64_t helpers() const { return helpers_; }  // that have ever begun
  // Of those: how many have not been let run.
  uint64_t helpers_held() const { return helpers_held_; }
  uint64_t kept_off() const { return kept_off_; }  // CPUs that the mover leaves to others

 private:
  void BeginHelper() {
    if (before_helper_) before_helper_();
    ++helpers_, ++helpers_held_;
  }
  Errno CopyOwnPage(uint64_t target, uint64_t source);  // the lock is held
  Errno CopyToChild(int userfault, uint64_t target, uint64_t source);
  Errno CollapseHere(uint64_t slot);
  Errno Populate(Range range);

  std::function<uint64_t()> clock_;
  std::atomic<bool> refuse_reads_ = false;
  model::Machine machine_;
  model::Application application_;
  std::atomic<bool> pinned_ = false;
  std::function<void()> before_helper_;
  std::atomic<uint64_t> helpers_ = 0, helpers_held_ = 0, kept_off_ = 0;
};

}  // namespace drover::kernel
