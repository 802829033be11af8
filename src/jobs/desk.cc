#include "jobs/desk.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "jobs/wire.h"

namespace drover::jobs {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr int kLookMs = 100;
constexpr timeval kCallerPatience{2, 0};  // for what a caller says and takes
// How long who asks for a pause waits for it to begin. A batch takes milliseconds.
constexpr auto kStandPatience = 5s;

bool MayAsk(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0);
}

}  // namespace

Desk::Desk(control::Steering& steering, bool detached) : steering_(steering) {
  status_.job = getpid();
  status_.user = geteuid();
  status_.detached = detached;
  const Address address = AddressOf(getpid());
  door_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (door_ >= 0 &&
      (bind(door_, address.get(), address.length) != 0 || listen(door_, SOMAXCONN) != 0)) {
    close(door_);
    door_ = -1;
  }
  if (door_ >= 0) thread_ = std::jthread([this](const std::stop_token& stop) { Serve(stop); });
}

Desk::~Desk() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (door_ >= 0) close(door_);
}

void Desk::Serve(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd wait{door_, POLLIN, 0};
    if (poll(&wait, 1, kLookMs) <= 0) continue;
    const int caller = accept4(door_, nullptr, nullptr, SOCK_CLOEXEC);
    if (caller < 0) continue;
    setsockopt(caller, SOL_SOCKET, SO_RCVTIMEO, &kCallerPatience, sizeof kCallerPatience);
    setsockopt(caller, SOL_SOCKET, SO_SNDTIMEO, &kCallerPatience, sizeof kCallerPatience);
    if (MayAsk(caller)) Hear(caller);
    close(caller);
  }
}

void Desk::AwaitStand() {
  for (const auto end = Clock::now() + kStandPatience; Clock::now() < end;) {
    if (Now().state != "pausing") return;
    std::this_thread::sleep_for(5ms);
  }
}

void Desk::Hear(int socket) {
  const std::string request = ReadAll(socket, kRequestBytesMax);
  if (request == kPause) {
    steering_.paused = true;
    AwaitStand();
  }
  if (request == kResume) steering_.paused = false;
  if (request == kCancel) steering_.cancel = true;
  nlohmann::json answer = ToJson(Now());
  if (request == kReport) {
    const std::lock_guard lock(mutex_);
    if (ended_) {
      answer["out"] = report_.out;
      answer["err"] = report_.err;
    }
  }
  // (Bytes that are no UTF-8, of a process's name, must not end the job.)
  const bool taken =
      WriteAll(socket, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  const std::lock_guard lock(mutex_);
  fetched_ = fetched_ || (taken && request == kReport && ended_);
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
  {
    const std::lock_guard lock(mutex_);
    report_ = report;
    seconds_ = std::chrono::duration<double>(Clock::now() - begin_).count();
    ended_ = true;
  }
  for (const auto end = Clock::now() + patience; is_open() && Clock::now() < end;) {
    {
      const std::lock_guard lock(mutex_);
      if (fetched_) return;
    }
    std::this_thread::sleep_for(50ms);
  }
}

}  // namespace drover::jobs
