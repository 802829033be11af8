#include "cli/kernel_mover.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "flow/flow.h"
#include "kernel/linux_kernel.h"
#include "migrators/copy_function.h"
#include "threads/posix_threads.h"

namespace drover::cli {
namespace {

class Outside final : public flow::Observer {
 public:
  Outside(int records, bool second_half, control::Steering& steering,
          const std::function<void(const control::Progress&)>& progress)
      : records_(records), second_half_(second_half), steering_(steering), progress_(progress) {}

  void PagesDone(uint64_t address, uint64_t pages, int32_t target, flow::Outcome outcome,
                 flow::Why why) override {
    done_ += pages;
    // After a first half, what that has moved.
    if (second_half_ && outcome == flow::Outcome::kAlreadyThere) return;
    const control::PageRecord record{address, static_cast<uint32_t>(pages),
                                     static_cast<uint8_t>(outcome), static_cast<uint8_t>(why),
                                     static_cast<int16_t>(target)};
    if (records_ >= 0 && write(records_, &record, sizeof record) < 0) records_ = -1;
  }
  flow::Next GoOn(const flow::JobResult& so_far) override {
    control::Progress now;
    now.pages_done = done_;
    now.pages_estimated = so_far.pages_estimated;
    progress_(now);
    control::StandWhilePaused(steering_);
    return steering_.cancel.load() ? flow::Next::kStop : flow::Next::kGoOn;
  }

 private:
  int records_;
  const bool second_half_;  // of a move of shared pages
  control::Steering& steering_;
  const std::function<void(const control::Progress&)>& progress_;
  uint64_t done_ = 0;
};

}  // namespace

std::expected<flow::JobResult, Error> MoveFromOutside(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& preset,
    int records, control::Steering& steering,
    const std::function<void(const control::Progress&)>& progress) {
  const int pid = process.pid;
  kernel::LinuxKernel kernel;
  const auto error = kernel.OpenProcess(pid);
  // What is open now belongs to the program that was looked at, or to none.
  if (control::LookAgain(process) != control::Still::kSame)
    return std::unexpected(control::NotTheSame(process));
  if (error != kernel::Errno::kOk)
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 fmt::format("process {} cannot be looked at: {}; run drover as "
                                             "its user or as root",
                                             pid, std::strerror(static_cast<int>(error)))});
  const uint64_t stacks_bytes =
      threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes;
  const auto stacks = kernel.Map(stacks_bytes);
  if (!stacks.has_value())
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the engine's stacks"});
  threads::PosixThreads threads({*stacks, stacks_bytes});
  flow::Gate gate;
  flow::Engine* engine = flow::MakeEngine({.kernel = kernel,
                                           .threads = threads,
                                           .gate = gate,
                                           .copy = migrators::FastestCopyFunction(),
                                           .control_blocks = {},
                                           .foreign = true},
                                          {});
  if (engine == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the engine's own areas"});
  flow::Job from_outside = job;
  from_outside.own_path = false;
  auto result = std::make_unique<flow::JobResult>(preset);
  Outside observer(records, job.shared, steering, progress);
  flow::RunJob(*engine, from_outside, observer, result.get());
  flow::UnmapEngine(*engine);
  kernel.Unmap({*stacks, stacks_bytes});
  kernel.Close();
  return *result;
}

}  // namespace drover::cli
