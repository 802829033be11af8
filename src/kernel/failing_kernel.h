// A kernel that forwards to another and lets one call fail: the n-th of those that can. A test runs
// a job once to learn how many calls it makes, then once for each of them.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/kernel.h"

namespace drover::kernel {

class FailingKernel : public Kernel {
 public:
  enum class Manner {
    kNotDone,        // the call is not carried out
    kDoneAndDenied,  // a MOVE is carried out, and then denied; other calls are not carried out
  };

  explicit FailingKernel(Kernel& real) : real_(real) {}

  // Call number `nth` (1: the first from now on) answers `error`, and so do the `more` behind it;
  // 0: none does. Counts anew.
  void FailCall(uint64_t nth, Errno error, Manner manner = Manner::kNotDone, uint64_t more = 0) {
    error_ = error;
    manner_ = manner;
    more_.store(more);
    calls_.store(0);
    nth_.store(nth);
  }
  // From now on the process is gone: its mappings cannot be read.
  void SetProcessGone(bool gone) { process_gone_.store(gone); }
  // Calls that could have failed, since the last FailCall.
  uint64_t calls() const { return calls_.load(); }
  bool failed() const { return nth_.load() != 0 && calls_.load() >= nth_.load(); }

  Errno Register(Range range, RegisterMode mode) override {
    return Fails() ? error_ : real_.Register(range, mode);
  }
  Errno Unregister(Range range) override { return Fails() ? error_ : real_.Unregister(range); }
  MoveAnswer Move(uint64_t target, uint64_t source, uint64_t length) override {
    if (!Fails()) return real_.Move(target, source, length);
    if (manner_ == Manner::kDoneAndDenied) (void)real_.Move(target, source, length);
    return {error_, 0};
  }
  MoveAnswer Fill(uint64_t target, uint64_t source, uint64_t length) override {
    return Fails() ? MoveAnswer{error_, 0} : real_.Fill(target, source, length);
  }
  Errno CopyPage(int userfault, uint64_t target, uint64_t source) override {
    return Fails() ? error_ : real_.CopyPage(userfault, target, source);
  }
  Errno ZeroPage(uint64_t target) override { return Fails() ? error_ : real_.ZeroPage(target); }
  Errno Wake(Range range) override { return Fails() ? error_ : real_.Wake(range); }
  Result<Message> ReadMessage() override {
    if (Fails()) return std::unexpected(error_);
    return real_.ReadMessage();
  }
  void WaitForMessage() override { real_.WaitForMessage(); }
  void InterruptWait() override { real_.InterruptWait(); }
  Result<Message> ReadChildMessage(int userfault) override {
    if (Fails()) return std::unexpected(error_);
    return real_.ReadChildMessage(userfault);
  }
  void CloseChild(int userfault, Range registered) override {
    real_.CloseChild(userfault, registered);
  }

  Result<uint64_t> Scan(Range range, uint64_t required, uint64_t forbidden, uint64_t report,
                        std::span<PageRegion> regions, uint64_t* walk_end) override {
    if (Fails()) return std::unexpected(error_);
    return real_.Scan(range, required, forbidden, report, regions, walk_end);
  }
  Errno ReadEntries(uint64_t start, std::span<PageEntry> entries) override {
    return Fails() ? error_ : real_.ReadEntries(start, entries);
  }
  Result<Mapping> NextMapping(uint64_t address) override {
    if (process_gone_.load()) return std::unexpected(Errno::kNoProcess);
    if (Fails()) return std::unexpected(error_);
    return real_.NextMapping(address);
  }

  Errno ReadMemory(uint64_t from, uint64_t to, uint64_t length) override {
    return Fails() ? error_ : real_.ReadMemory(from, to, length);
  }

  Errno QueryNodes(std::span<const uint64_t> addresses, std::span<int32_t> nodes) override {
    return Fails() ? error_ : real_.QueryNodes(addresses, nodes);
  }
  Result<int64_t> MovePages(std::span<const uint64_t> addresses, std::span<const int32_t> nodes,
                            std::span<int32_t> status, Whose whose) override {
    if (Fails()) return std::unexpected(error_);
    return real_.MovePages(addresses, nodes, status, whose);
  }
  Errno PreferNode(Range range, Node node) override {
    return Fails() ? error_ : real_.PreferNode(range, node);
  }

  Result<uint64_t> MapAt(uint64_t wish, uint64_t bytes) override {
    if (Fails()) return std::unexpected(error_);
    return real_.MapAt(wish, bytes);
  }
  void Unmap(Range range) override { real_.Unmap(range); }
  Errno Advise(Range range, Advice advice) override {
    return Fails() ? error_ : real_.Advise(range, advice);
  }
  void FaultIn(Range range, uint64_t step) override { real_.FaultIn(range, step); }
  Errno Collapse(uint64_t slot) override { return Fails() ? error_ : real_.Collapse(slot); }
  Errno Protect(Range range, bool writable) override {
    return Fails() ? error_ : real_.Protect(range, writable);
  }
  Errno Unlock(Range range) override { return Fails() ? error_ : real_.Unlock(range); }

  Result<uint64_t> ListThreads(std::span<int32_t> ids) override {
    if (Fails()) return std::unexpected(error_);
    return real_.ListThreads(ids);
  }
  Result<uint64_t> RobustListOf(int32_t thread) override {
    if (Fails()) return std::unexpected(error_);
    return real_.RobustListOf(thread);
  }
  Result<uint64_t> ReadFile(const char* path, std::span<char> buffer) override {
    if (Fails()) return std::unexpected(error_);
    return real_.ReadFile(path, buffer);
  }
  Errno VisitDescriptors(Visit visit, void* context) override {
    return Fails() ? error_ : real_.VisitDescriptors(visit, context);
  }
  Result<uint64_t> ListMarked(Marked how, std::span<Range> ranges) override {
    if (Fails()) return std::unexpected(error_);
    return real_.ListMarked(how, ranges);
  }
  Result<SocketKind> LookAtSocket(int descriptor) override {
    if (Fails()) return std::unexpected(error_);
    return real_.LookAtSocket(descriptor);
  }
  Switches CountSwitches() override { return real_.CountSwitches(); }
  uint64_t NowNs() override { return real_.NowNs(); }
  uint64_t ThreadCpuNs() override { return real_.ThreadCpuNs(); }
  void PinThread() override { real_.PinThread(); }
  void UnpinThread() override { real_.UnpinThread(); }
  void RunOn(int32_t cpu) override { real_.RunOn(cpu); }
  void BecomeHelper(int32_t cpu) override { real_.BecomeHelper(cpu); }
  void LetHelperRun(int32_t thread) override { real_.LetHelperRun(thread); }
  int32_t ThreadId() override { return real_.ThreadId(); }
  void KeepOff(std::span<const int16_t> cpus) override { real_.KeepOff(cpus); }

 private:
  bool Fails() {
    const uint64_t call = calls_.fetch_add(1) + 1, first = nth_.load();
    return first != 0 && call >= first && call - first <= more_.load();
  }

  Kernel& real_;
  Errno error_ = Errno::kOk;
  Manner manner_ = Manner::kNotDone;
  std::atomic<uint64_t> nth_ = 0;
  std::atomic<uint64_t> more_ = 0;
  std::atomic<uint64_t> calls_ = 0;
  std::atomic<bool> process_gone_ = false;
};

}  // namespace drover::kernel
