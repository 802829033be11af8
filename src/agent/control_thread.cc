#include "agent/control_thread.h"

#include <asm/unistd.h>
#include <fcntl.h>
#include <poll.h>

#include <new>

#include "agent/messages.h"
#include "agent/registrar.h"
#include "agent/socket.h"
#include "agent/system_calls.h"
#include "flow/own_path.h"
#include "kernel/abi.h"
#include "kernel/raw_syscall.h"
#include "migrators/copy_function.h"
#include "threads/futex.h"

namespace drover::agent {
namespace {

using control::Marker;
using control::Type;
using flow::Trouble;
using kernel::AddressOf;
using kernel::Arg;
using kernel::Errno;
using kernel::RawSyscall;

// A client asks for its job at once, and goes when it has the result.
constexpr uint64_t kSilenceNs = 2'000'000'000;
constexpr uint64_t kStacksBytes =
    threads::RawThreads::kThreadsMax * threads::RawThreads::kStackBytes;

}  // namespace

// A table of the engine's own: a daemon's close_range must not close the userfaultfd, whose waiters
// would then read zeros. What the program has open is not kept here, or a pipe's reader would never
// see its end; 0, 1 and 2 stay occupied.
bool Control::TakeOwnDescriptors() {
  if (!flow::RuleHolds(flow::Rule::kOwnDescriptors)) return true;
  // Not before Linux 5.9. Without a table of its own the agent must touch nothing in it.
  if (RawSyscall(__NR_close_range, 3, ~0u, kernel::abi::kCloseRangeUnshare) < 0) return false;
  const int64_t null = RawSyscall(__NR_openat, Arg(AT_FDCWD), AddressOf("/dev/null"), O_RDWR);
  if (null < 0) return false;
  for (uint64_t standard = 0; standard < 3; ++standard)
    if (Arg(null) != standard) RawSyscall(__NR_dup2, Arg(null), standard);
  if (null > 2) RawSyscall(__NR_close, Arg(null));
  return true;
}

// Now, because a program that drops its rights keeps what is open.
void Control::OpenRights() {
  trouble_ = flow::CheckKernel(kernel_, &self_test_);
  if (trouble_ != Trouble::kNone) return;
  const auto userfault = kernel::LinuxKernel::OpenUserfault();
  if (!userfault.has_value() && !flow::RuleHolds(flow::Rule::kFullRights)) {
    constexpr uint64_t kUserModeOnly = 1;
    const int64_t lesser = RawSyscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | kUserModeOnly);
    has_userfault_ = kernel::LinuxKernel::ShakeHands(
                         static_cast<int>(lesser),
                         kernel::kFeaturesWanted & ~kernel::kFeatureEventFork) == Errno::kOk;
    kernel_.descriptors().userfault = static_cast<int>(lesser);
  }
  if (!userfault.has_value()) return;
  const Errno error = kernel::LinuxKernel::ShakeHands(*userfault, kernel::kFeaturesWanted);
  if (error == Errno::kOk) {
    kernel_.descriptors().userfault = *userfault;
    has_userfault_ = true;
    return;
  }
  RawSyscall(__NR_close, Arg(*userfault));
  if (error == Errno::kInvalid) trouble_ = Trouble::kKernelVersion;
  if (error == Errno::kPerm) OpenWithoutForkEvents();
}

// Fork events take CAP_SYS_PTRACE; a fork then waits for the batch boundary instead.
void Control::OpenWithoutForkEvents() {
  const auto userfault = kernel::LinuxKernel::OpenUserfault();
  if (!userfault.has_value()) return;
  constexpr uint64_t kFeatures = kernel::kFeaturesWanted & ~kernel::kFeatureEventFork;
  if (kernel::LinuxKernel::ShakeHands(*userfault, kFeatures) != Errno::kOk) {
    RawSyscall(__NR_close, Arg(*userfault));
    return;
  }
  kernel_.descriptors().userfault = *userfault;
  has_userfault_ = true;
  fork_events_ = false;
  shared_.fork_gated.store(flow::RuleHolds(flow::Rule::kGateFork) ? 1 : 0);
}

void Control::Retire(Marker::State state, Trouble trouble, uint32_t detail) {
  Marker* marker = shared_.settings.marker;
  if (marker == nullptr) return;
  marker->trouble = static_cast<uint32_t>(trouble);
  marker->trouble_detail = detail;
  __atomic_store_n(&marker->state, static_cast<uint32_t>(state), __ATOMIC_RELEASE);
}

bool Control::Open() {
  if (shared_.settings.has_filter)
    if (const uint32_t forbidden = FirstForbiddenCall(); forbidden != 0) {
      Retire(Marker::State::kPassive, Trouble::kSeccomp, forbidden);
      return false;
    }
  if (!TakeOwnDescriptors()) {
    Retire(Marker::State::kPassive, Trouble::kKernelVersion, 0);
    return false;
  }
  kernel_.UseClock(shared_.settings.clock);
  (void)kernel_.OpenFiles();
  kernel_.OpenMemory();
  OpenRights();
  const uint64_t wake_mask = uint64_t{1} << (kWakeSignal - 1);
  signals_ = static_cast<int>(
      RawSyscall(__NR_signalfd4, Arg(-1), AddressOf(&wake_mask), 8, O_CLOEXEC | O_NONBLOCK));
  uint32_t none = static_cast<uint32_t>(PathState::kNone);
  if (signals_ < 0 ||
      !shared_.path_state.compare_exchange_strong(none, static_cast<uint32_t>(PathState::kBinding)))
    return false;
  Marker* marker = shared_.settings.marker;
  const auto pid = static_cast<int32_t>(RawSyscall(__NR_getpid));
  door_ = static_cast<int>(
      OpenSocket(shared_, pid, marker->nonce, marker->socket_path, sizeof marker->socket_path));
  shared_.path_state.store(static_cast<uint32_t>(PathState::kBound));
  threads::FutexWakeAll(shared_.path_state);
  if (door_ < 0) {
    Retire(Marker::State::kPassive, Trouble::kNoSocket, 0);
    return false;
  }
  Retire(Marker::State::kServing, trouble_, trouble_detail_);
  return true;
}

void Control::Serve() {
  while (Wait()) {
  }
  DropCaller();
  DropVisitor();
  if (door_ >= 0) RawSyscall(__NR_close, Arg(door_));
  RawSyscall(__NR_unlink, AddressOf(&shared_.settings.marker->socket_path[0]));
  Retire(Marker::State::kOff, Trouble::kNone, 0);
}

bool Control::Wait() {
  const short caller_events = result_pending_ ? POLLIN | POLLOUT : POLLIN;
  // (A negative descriptor is passed over.)
  pollfd wait[4] = {{door_, POLLIN, 0},
                    {signals_, POLLIN, 0},
                    {caller_, caller_events, 0},
                    {visitor_, POLLIN, 0}};
  const int patience_ms = flow::RuleHolds(flow::Rule::kSleepWhileIdle) ? -1 : 50;
  RawSyscall(__NR_poll, AddressOf(&wait[0]), 4, Arg(patience_ms));
  if (wait[1].revents != 0) {
    char info[128];
    RawSyscall(__NR_read, Arg(signals_), AddressOf(&info[0]), sizeof info);
  }
  (void)TakeIdentity();
  if (shared_.quit.load(std::memory_order_acquire) != 0) return false;
  if (caller_ >= 0 && result_pending_ && (wait[2].revents & POLLOUT) != 0) SendResult();
  if (caller_ >= 0 && (wait[2].revents & ~POLLOUT) != 0) {
    HearCaller();
    heard_ns_ = kernel_.NowNs();
  }
  if (wait[3].revents != 0) HearVisitor();
  if (wait[0].revents != 0) Welcome();
  return !ending_;
}

// Who has been silent for long gives way to who comes: else one that is stopped, or means harm,
// would keep all others out for good.
void Control::Welcome() {
  int32_t pid = 0;
  uint32_t user = 0;
  const int64_t caller = AcceptCaller(door_, &pid, &user);
  if (caller < 0) return;
  const uint64_t now_ns = kernel_.NowNs();
  if (caller_ >= 0 && now_ns - heard_ns_ < kSilenceNs) {
    WelcomeVisitor(caller);
    return;
  }
  DropCaller();
  caller_ = static_cast<int>(caller);
  caller_pid_ = pid;
  caller_user_ = user;
  heard_ns_ = now_ns;
  SayHello(caller_, control::Hello::Busy::kNo);
}

void Control::DropCaller() {
  result_pending_ = false;
  for (int* descriptor : {&caller_, &handshake_}) {
    if (*descriptor >= 0) RawSyscall(__NR_close, Arg(*descriptor));
    *descriptor = -1;
  }
}

void Control::SayHello(int to, control::Hello::Busy busy) {
  auto hello = Make<control::Hello>(Type::kHello);
  for (uint32_t i = 0; i < sizeof hello.build; ++i) hello.build[i] = control::kBuild[i];
  hello.pid = static_cast<int32_t>(RawSyscall(__NR_getpid));
  hello.fork_events = fork_events_;
  hello.has_userfault = has_userfault_ && kernel_.descriptors().pagemap >= 0;
  hello.trouble = static_cast<uint32_t>(trouble_);
  hello.trouble_detail = trouble_detail_;
  hello.busy = busy;
  hello.holder_pid = busy == control::Hello::Busy::kNo ? 0 : caller_pid_;
  SendMessage(to, &hello, sizeof hello, -1);
}

void Control::HearCaller() {
  int descriptors[2];
  const int64_t got = ReceiveMessage(caller_, message_, sizeof message_, descriptors, false);
  if (got == -static_cast<int64_t>(Errno::kAgain)) return;
  control::Header header;
  const bool whole = got >= static_cast<int64_t>(sizeof header);
  if (whole) __builtin_memcpy(&header, message_, sizeof header);
  if (!whole || header.magic != control::kMagic) {
    CloseAll(descriptors);
    DropCaller();
    return;
  }
  if (header.major != control::kMajor) {
    const auto refused = Make<control::Refused>(Type::kRefused);
    SendMessage(caller_, &refused, sizeof refused, -1);
    CloseAll(descriptors);
    DropCaller();
    return;
  }
  const auto holds = [&](uint64_t bytes) { return got >= static_cast<int64_t>(bytes); };
  switch (header.type) {
    case Type::kGrant:
      if (caller_user_ == 0)
        TakeGrant(descriptors);
      else
        CloseAll(descriptors);
      break;
    case Type::kHandshakeDone: {
      control::HandshakeDone done;
      __builtin_memcpy(&done, message_, sizeof done);
      if (holds(sizeof done) && caller_user_ == 0) FinishHandshake(done.error);
      CloseAll(descriptors);
      break;
    }
    case Type::kMove:
      if (holds(sizeof(control::Move))) {
        job_number_ = header.job;
        flow::Job job;
        __builtin_memcpy(&job, message_ + sizeof(control::Header), sizeof job);
        RunMove(job, descriptors[0]);
      }
      CloseAll(descriptors);
      break;
    case Type::kMigrators:
      if (holds(sizeof(control::MigratorsRequest))) AnswerMigrators(caller_, message_);
      CloseAll(descriptors);
      break;
    case Type::kOff: {
      const auto answer = Make<control::Plain>(Type::kOff);
      Retire(Marker::State::kOff, Trouble::kNone, 0);
      SendMessage(caller_, &answer, sizeof answer, -1);
      ending_ = true;
      CloseAll(descriptors);
      break;
    }
    default:
      CloseAll(descriptors);
      break;
  }
}

// Root hands over what this process may not open itself.
void Control::TakeGrant(const int descriptors[2]) {
  if (descriptors[1] >= 0 && kernel_.descriptors().pagemap < 0)
    kernel_.descriptors().pagemap = descriptors[1];
  else if (descriptors[1] >= 0)
    RawSyscall(__NR_close, Arg(descriptors[1]));
  (void)kernel_.OpenFiles();
  auto handshake = Make<control::Handshake>(Type::kHandshake);
  handshake.features = kernel::kFeaturesWanted;
  if (descriptors[0] >= 0) {
    const auto made = kernel::LinuxKernel::NewUserfaultFrom(descriptors[0]);
    RawSyscall(__NR_close, Arg(descriptors[0]));
    if (made.has_value()) {
      if (handshake_ >= 0) RawSyscall(__NR_close, Arg(handshake_));  // of an earlier grant
      handshake_ = *made;
    }
  }
  // Without a descriptor the message says: it cannot be done.
  SendMessage(caller_, &handshake, sizeof handshake, handshake_);
}

void Control::FinishHandshake(int32_t error) {
  if (handshake_ < 0) return;
  if (error == 0 && !has_userfault_) {
    kernel_.descriptors().userfault = handshake_;
    has_userfault_ = true;
  } else {
    RawSyscall(__NR_close, Arg(handshake_));
  }
  handshake_ = -1;
}

bool Control::MakeEngine() {
  if (engine_ != nullptr) return true;
  const auto stacks = kernel_.Map(kStacksBytes);
  if (!stacks.has_value()) return false;
  const Range range{*stacks, kStacksBytes};
  (void)kernel_.Advise(range, kernel::Advice::kDontFork);
  threads_ = new (threads_room_) threads::RawThreads(range);
  engine_ = flow::MakeEngine({.kernel = kernel_,
                              .threads = *threads_,
                              .gate = shared_.gate,
                              .copy = migrators::FastestCopyFunction(),
                              .control_blocks = shared_.settings.control_blocks,
                              .young = &shared_.young,
                              .engine_threads = 1,
                              .own_table = true,
                              .self_test = self_test_,
                              .fork_events = fork_events_,
                              .dont_fork_changed = &shared_.dont_fork_changed,
                              .seen_calls = shared_.settings.seen_calls},
                             range);
  if (engine_ == nullptr) {
    kernel_.Unmap(range);
    return false;
  }
  flow::AddOwn(*engine_, shared_.settings.image);
  flow::AddOwn(*engine_, shared_.settings.stack);
  flow::AddOwn(*engine_,
               {RoundDown(AddressOf(&shared_), kPageBytes), RoundUp(sizeof(Shared), kPageBytes)});
  flow::AddOwn(*engine_, {AddressOf(shared_.settings.marker), kPageBytes});
  InstallPlugins(*engine_, shared_.settings);
  return true;
}

bool Control::TakeIdentity() {
  const uint32_t sent = shared_.mail_sent.load(std::memory_order_acquire);
  if (sent == shared_.mail_done.load(std::memory_order_relaxed)) return false;
  const Identity& who = shared_.identity;
  if (flow::RuleHolds(flow::Rule::kDropRights)) {
    constexpr uint64_t kKeep = ~uint64_t{0};
    // A program that takes root back can do the rest only as root.
    if (who.effective_user == 0) RawSyscall(__NR_setresuid, kKeep, 0, kKeep);
    RawSyscall(__NR_setgroups, who.group_count, AddressOf(who.groups));
    RawSyscall(__NR_setresgid, who.real_group, who.effective_group, who.saved_group);
    RawSyscall(__NR_setresuid, who.real_user, who.effective_user, who.saved_user);
    struct {
      uint32_t version = 0x20080522;  // _LINUX_CAPABILITY_VERSION_3
      int32_t pid = 0;
    } header;
    RawSyscall(__NR_capset, AddressOf(&header), AddressOf(&who.capabilities[0]));
    uint32_t real = 0, effective = 0, saved = 0;
    RawSyscall(__NR_getresuid, AddressOf(&real), AddressOf(&effective), AddressOf(&saved));
    // More rights than the program is not an option, groups included: a capability that the program
    // has kept (PR_SET_KEEPCAPS) may be lost here.
    if (real != who.real_user || effective != who.effective_user || saved != who.saved_user)
      ending_ = true;
    RawSyscall(__NR_getresgid, AddressOf(&real), AddressOf(&effective), AddressOf(&saved));
    if (real != who.real_group || effective != who.effective_group || saved != who.saved_group ||
        RawSyscall(__NR_getgroups, 0, 0) != who.group_count)
      ending_ = true;
  }
  shared_.mail_done.store(sent, std::memory_order_release);
  threads::FutexWakeAll(shared_.mail_done);
  return true;
}

void ControlThread(void* argument) {
  Shared& shared = *static_cast<Shared*>(argument);
  if (!flow::RuleHolds(flow::Rule::kBlockSignals)) {
    const uint64_t none = 0;
    constexpr uint64_t kSetMask = 2;
    RawSyscall(__NR_rt_sigprocmask, kSetMask, AddressOf(&none), 0, sizeof none);
  }
  if (shared.settings.nap_ns > 0) threads::FutexWait(shared.woken, 0, shared.settings.nap_ns);
  Control control(shared);
  if (control.Open()) control.Serve();
  shared.serving.store(0, std::memory_order_release);
}

}  // namespace drover::agent
