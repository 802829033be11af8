// The job under way, as the agent's control thread runs it and tells of it.
#include <asm/unistd.h>
#include <poll.h>
#include <sys/stat.h>

#include "agent/control_thread.h"
#include "agent/messages.h"
#include "agent/socket.h"
#include "kernel/raw_syscall.h"

namespace drover::agent {
namespace {

using control::Type;
using flow::Trouble;
using kernel::AddressOf;
using kernel::Arg;
using kernel::Errno;
using kernel::RawSyscall;

constexpr uint64_t kProgressEveryNs = 100'000'000;
// How long a setuid of the program's may have to wait while a job is paused.
constexpr uint64_t kPausedLookMs = 50;

bool IsRegularFile(int descriptor) {
  struct stat info;
  return descriptor >= 0 && RawSyscall(__NR_fstat, Arg(descriptor), AddressOf(&info)) == 0 &&
         S_ISREG(info.st_mode);
}

}  // namespace

void Control::RunMove(const flow::Job& asked, int records) {
  result_ = flow::JobResult();
  result_pending_ = false;
  flow::Job job = asked;
  if (!flow::IsValid(job)) {
    result_.ended_by = Trouble::kBadJob;
    SendResult();
    return;
  }
  // Only a file, which never blocks a write; a pipe that nobody reads would hold up the mover.
  records_ = IsRegularFile(records) ? records : -1;
  record_count_ = 0;
  pages_done_ = 0;
  progress_ns_ = kernel_.NowNs();
  stop_ = paused_ = false;
  running_ = true;
  result_.own_path_trouble = trouble_ != Trouble::kNone ? trouble_
                             : has_userfault_           ? Trouble::kNone
                                                        : Trouble::kNoRights;
  result_.own_path_detail = trouble_detail_;
  job.own_path = job.own_path && result_.own_path_trouble == Trouble::kNone;
  if (!MakeEngine())
    result_.ended_by = Trouble::kNoMemory;
  else if (!engine_->registry.Knows(job.Engines(), job.plugins))
    result_.ended_by = Trouble::kNoSuchEngine;
  else
    flow::RunJob(*engine_, job, *this, &result_);
  running_ = false;
  FlushRecords();
  records_ = -1;
  SendResult();
}

// Kept while the socket is full of progress that nobody reads, until it is fetched or the next job
// begins.
void Control::SendResult() {
  if (caller_ < 0) return;
  auto answer = Make<control::Result>(Type::kResult, job_number_);
  answer.result = result_;
  result_pending_ = !SendMessage(caller_, &answer, sizeof answer, -1);
}

void Control::PagesDone(uint64_t address, uint64_t pages, int32_t target, flow::Outcome outcome,
                        flow::Why why) {
  pages_done_ += pages;
  if (records_ < 0) return;
  if (record_count_ > 0) {  // goes on where the last one ended
    control::PageRecord& last = record_buffer_[record_count_ - 1];
    if (last.address + last.pages * kPageBytes == address &&
        last.outcome == static_cast<uint8_t>(outcome) && last.why == static_cast<uint8_t>(why) &&
        last.target == target) {
      last.pages += static_cast<uint32_t>(pages);
      return;
    }
  }
  if (record_count_ == sizeof record_buffer_ / sizeof record_buffer_[0]) FlushRecords();
  record_buffer_[record_count_++] = {address, static_cast<uint32_t>(pages),
                                     static_cast<uint8_t>(outcome), static_cast<uint8_t>(why),
                                     static_cast<int16_t>(target)};
}

void Control::FlushRecords() {
  if (records_ >= 0 && record_count_ > 0)
    RawSyscall(__NR_write, Arg(records_), AddressOf(&record_buffer_[0]),
               record_count_ * sizeof record_buffer_[0]);
  record_count_ = 0;
}

// A Cancel, an Off and a lost connection all stop the job at this boundary.
bool Control::StopAsked(uint64_t patience_ms) {
  if (shared_.quit.load(std::memory_order_acquire) != 0) ending_ = stop_ = true;
  pollfd wait[3] = {{door_, POLLIN, 0}, {caller_, POLLIN, 0}, {visitor_, POLLIN, 0}};
  if (RawSyscall(__NR_poll, AddressOf(&wait[0]), 3, stop_ ? 0 : patience_ms) <= 0) return stop_;
  if (wait[2].revents != 0) HearVisitor();
  if (wait[0].revents != 0) {
    int32_t pid = 0;
    uint32_t user = 0;
    WelcomeVisitor(AcceptCaller(door_, &pid, &user));
  }
  if (wait[1].revents != 0) HearDuringMove();
  return stop_;
}

void Control::HearDuringMove() {
  int descriptors[2];
  control::Header header;
  const int64_t got = ReceiveMessage(caller_, &header, sizeof header, descriptors, false);
  CloseAll(descriptors);
  if (got == -static_cast<int64_t>(Errno::kAgain)) return;
  const bool whole = got >= static_cast<int64_t>(sizeof header);
  if (!whole) DropCaller();
  if (whole && (header.type == Type::kPause || header.type == Type::kResume)) {
    paused_ = header.type == Type::kPause;
    return;
  }
  if (whole && header.type == Type::kOff) ending_ = true;
  stop_ = true;
}

void Control::SendProgress(const flow::JobResult& so_far, bool stands) {
  auto progress = Make<control::Progress>(Type::kProgress, job_number_);
  progress.pages_done = pages_done_;
  progress.pages_estimated = so_far.pages_estimated;
  progress.stands = stands ? 1 : 0;
  SendMessage(caller_, &progress, sizeof progress, -1);  // dropped when the socket is full
}

flow::Next Control::GoOn(const flow::JobResult& so_far) {
  bool changed = TakeIdentity();
  bool stop = StopAsked(0);
  // Nothing of the program's is absent or registered here. The other threads take on a new identity
  // at once; then this is asked again.
  while (paused_ && !stop && !ending_ && !changed) {
    SendProgress(so_far, true);
    stop = StopAsked(kPausedLookMs);
    changed = TakeIdentity();
  }
  if (stop || ending_) return flow::Next::kStop;
  const uint64_t now_ns = kernel_.NowNs();
  if (caller_ >= 0 && now_ns - progress_ns_ >= kProgressEveryNs) {
    progress_ns_ = now_ns;
    SendProgress(so_far, false);
  }
  return changed ? flow::Next::kRestartThreads : flow::Next::kGoOn;
}

}  // namespace drover::agent
