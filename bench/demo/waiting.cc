#include "waiting.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "failure.h"

namespace drover::demo {
namespace {

// Written once by the handler and never read, so that every thread's wait ends, now and later.
int interrupt_pipe[2] = {-1, -1};

void HandleInterrupt(int) {
  const int saved_errno = errno;
  [[maybe_unused]] const ssize_t written = write(interrupt_pipe[1], "!", 1);
  errno = saved_errno;
}

int MillisecondsUntil(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, 3'600'000));
}

}  // namespace

void InstallInterruptHandlers() {
  if (pipe2(interrupt_pipe, O_CLOEXEC | O_NONBLOCK) != 0) throw Failure("no pipe to be had");
  struct sigaction action{};
  action.sa_handler = HandleInterrupt;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  // A server that is gone is an error of write(2), not the end of the demo.
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

bool Interrupted() {
  pollfd poll_pipe = {interrupt_pipe[0], POLLIN, 0};
  return poll(&poll_pipe, 1, 0) > 0;
}

void ThrowIfInterrupted() {
  if (Interrupted()) throw Failure("interrupted", kExitInterrupted);
}

bool WaitFor(std::initializer_list<Awaited> awaited, Clock::time_point deadline) {
  std::array<pollfd, 4> polled = {{{interrupt_pipe[0], POLLIN, 0}}};
  nfds_t count = 1;
  for (const Awaited& one : awaited) polled.at(count++) = {one.file, one.events, 0};
  int ready;
  do {
    ready = poll(polled.data(), count, MillisecondsUntil(deadline));
  } while (ready < 0 && errno == EINTR);
  if (polled[0].revents != 0) throw Failure("interrupted", kExitInterrupted);
  nfds_t index = 1;
  for (const Awaited& one : awaited) {
    if (one.seen != nullptr) *one.seen = polled.at(index).revents;
    ++index;
  }
  return ready > 0;
}

void Sleep(Seconds duration) {
  WaitFor({}, Clock::now() + std::chrono::duration_cast<Clock::duration>(duration));
}

}  // namespace drover::demo
