// The agent's one thread in an idle program: it opens what the engine needs, waits for the command
// line, and is the mover of every job. Freestanding; everything here is on the control thread.
#pragma once

#include "agent/shared.h"
#include "flow/flow.h"
#include "kernel/linux_kernel.h"
#include "threads/raw_threads.h"

namespace drover::agent {

class Control final : public flow::Observer {
 public:
  explicit Control(Shared& shared) : shared_(shared) {}

  // Opens everything; false: the agent stays away (its marker says why).
  bool Open();
  // Serves until the program wants the agent to end, or the command line takes it out of work.
  void Serve();

 private:
  [[nodiscard]] bool TakeOwnDescriptors();
  void OpenRights();
  void OpenWithoutForkEvents();
  void Retire(control::Marker::State state, flow::Trouble trouble, uint32_t detail);
  bool Wait();  // false: the agent is to end
  void Welcome();
  void HearCaller();
  void DropCaller();
  void SayHello(int to, control::Hello::Busy busy);
  void TakeGrant(const int descriptors[2]);
  void FinishHandshake(int32_t error);
  void RunMove(const flow::Job& job, int records);
  bool MakeEngine();
  // Takes on the program's identity when it has changed. True: it has, threads must be made anew.
  bool TakeIdentity();
  // ---- somebody else while a caller is here (visitor.cc)
  void WelcomeVisitor(int64_t visitor);
  void HearVisitor();
  void DropVisitor();
  void AnswerMigrators(int to, const char* message);

  // ---- while a job is under way (job.cc)
  bool StopAsked(uint64_t patience_ms);
  void HearDuringMove();
  void SendProgress(const flow::JobResult& so_far, bool stands);
  void SendResult();

  // flow::Observer
  void PagesDone(uint64_t address, uint64_t pages, int32_t target, flow::Outcome outcome,
                 flow::Why why) override;
  flow::Next GoOn(const flow::JobResult& so_far) override;
  void FlushRecords();

  Shared& shared_;
  kernel::LinuxKernel kernel_;
  flow::Engine* engine_ = nullptr;
  threads::RawThreads* threads_ = nullptr;
  alignas(threads::RawThreads) char threads_room_[sizeof(threads::RawThreads)];
  int door_ = -1, caller_ = -1, visitor_ = -1, signals_ = -1, records_ = -1;
  int handshake_ = -1;  // a userfaultfd that waits for root's handshake
  int32_t caller_pid_ = 0;
  uint32_t caller_user_ = ~0u;
  uint64_t heard_ns_ = 0;        // when the caller came, last spoke or had its result
  uint64_t visited_ns_ = 0;      // when the visitor came
  bool result_pending_ = false;  // the socket was full
  bool self_test_ = false;
  bool fork_events_ = true;
  bool has_userfault_ = false;
  flow::Trouble trouble_ = flow::Trouble::kNone;
  uint32_t trouble_detail_ = 0;
  uint64_t job_number_ = 0;
  bool running_ = false;  // a job
  bool stop_ = false;     // the running job is to stop
  bool paused_ = false;   // it is to stand at a batch boundary
  bool ending_ = false;   // and the agent as well
  uint64_t pages_done_ = 0;
  uint64_t progress_ns_ = 0;
  flow::JobResult result_;
  control::PageRecord record_buffer_[256];
  uint32_t record_count_ = 0;
  char message_[sizeof(control::Move) + 64];
};

}  // namespace drover::agent
