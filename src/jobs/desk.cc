#include "jobs/desk.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <system_error>

#include "control/peer.h"
#include "jobs/wire.h"

namespace drover::jobs {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kCallerPatience = 2s;  // for what a caller says and takes
constexpr auto kTakingPatience = 30s;
// How long who asks for a pause waits for it to begin. A batch takes milliseconds.
constexpr auto kStandPatience = 5s;

bool MayAsk(int socket) {
  const auto peer = control::PeerOf(socket);
  return peer.has_value() && (peer->uid == geteuid() || peer->uid == 0);
}

}  // namespace

Desk::Desk(control::Steering& steering, bool detached) : steering_(steering) {
  status_.job = getpid();
  status_.user = geteuid();
  status_.detached = detached;
  const Address address = AddressOf(NewName(getpid()));
  door_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  wake_ = eventfd(0, EFD_CLOEXEC);
  bool open = door_ >= 0 && wake_ >= 0 && bind(door_, address.get(), address.length) == 0 &&
              listen(door_, SOMAXCONN) == 0;
  try {
    if (open) thread_ = std::jthread([this](const std::stop_token& stop) { Serve(stop); });
  } catch (const std::system_error&) {  // no more threads: then nobody can ask
    open = false;
  }
  if (open) return;
  if (door_ >= 0) close(door_);
  door_ = -1;
}

Desk::~Desk() {
  if (thread_.joinable()) {
    thread_.request_stop();
    const uint64_t one = 1;
    (void)!write(wake_, &one, sizeof one);
    thread_.join();
  }
  for (const int descriptor : {door_, wake_})
    if (descriptor >= 0) close(descriptor);
}

void Desk::Serve(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd wait[2] = {{door_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (poll(wait, 2, -1) <= 0) continue;
    const int caller = accept4(door_, nullptr, nullptr, SOCK_CLOEXEC);
    if (caller < 0) continue;
    if (MayAsk(caller)) Hear(caller, stop);
    close(caller);
  }
}

void Desk::AwaitStand(const std::stop_token& stop) {
  for (const auto end = Clock::now() + kStandPatience; Clock::now() < end;) {
    if (stop.stop_requested() || Now().state != "pausing") return;
    std::this_thread::sleep_for(5ms);
  }
}

void Desk::Hear(int socket, const std::stop_token& stop) {
  const auto request = ReadAll(socket, kRequestBytesMax, Clock::now() + kCallerPatience);
  if (!request.has_value()) return;
  if (*request == kPause) {
    steering_.paused = true;
    AwaitStand(stop);
  }
  if (*request == kResume) steering_.paused = false;
  if (*request == kCancel) steering_.cancel = true;
  if (stop.stop_requested()) return;  // the job is over
  nlohmann::json answer = ToJson(Now());
  const bool for_report = *request == kReport;
  if (for_report) {
    const std::lock_guard lock(mutex_);
    if (fetched_) return;  // by somebody else, and gone with that
    if (ended_) {
      answer["out"] = report_.out;
      answer["err"] = report_.err;
    }
  }
  // (Bytes that are no UTF-8, of a process's name, must not end the job.)
  const bool taken =
      WriteAll(socket, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
               Clock::now() + (for_report ? kTakingPatience : kCallerPatience));
  const std::lock_guard lock(mutex_);
  fetched_ = fetched_ || (taken && for_report && ended_);
  taken_.notify_all();
}

Status Desk::Now() {
  const std::lock_guard lock(mutex_);
  Status status = status_;
  status.seconds = ended_ ? seconds_ : std::chrono::duration<double>(Clock::now() - begin_).count();
  if (ended_) {
    status.state = "ended";
    status.exit_code = report_.exit_code;
  } else if (steering_.cancel.load()) {
    status.state = "stopping";
  } else if (steering_.paused.load()) {
    status.state = steering_.stands.load() ? "paused" : "pausing";
  } else {
    status.state = "running";
  }
  return status;
}

void Desk::KeepReport(const Report& report, std::chrono::seconds patience) {
  std::unique_lock lock(mutex_);
  report_ = report;
  seconds_ = std::chrono::duration<double>(Clock::now() - begin_).count();
  ended_ = true;
  if (is_open()) taken_.wait_for(lock, patience, [&] { return fetched_; });
}

}  // namespace drover::jobs
