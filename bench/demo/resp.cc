#include "resp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "failure.h"

namespace drover::demo {
namespace {

// DEBUG DIGEST of some GiB takes seconds; a server that is stuck never answers.
constexpr Seconds kAnswerLimit{120};

Clock::time_point AnswerDeadline() {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(kAnswerLimit);
}

}  // namespace

Connection::Connection(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    throw Failure(fmt::format("{}: too long for the name of a socket", socket_path));
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_ < 0 ||
      connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int connect_errno = errno;
    if (socket_ >= 0) close(socket_);
    throw Failure(fmt::format("{}: {}", socket_path, std::strerror(connect_errno)));
  }
  fcntl(socket_, F_SETFL, O_NONBLOCK);
}

Connection::~Connection() {
  close(socket_);
}

void Connection::Append(std::initializer_list<std::string_view> words) {
  fmt::format_to(std::back_inserter(out_), "*{}\r\n", words.size());
  for (const std::string_view word : words) {
    fmt::format_to(std::back_inserter(out_), "${}\r\n", word.size());
    out_.append(word).append("\r\n");
  }
  ++pending_;
}

void Connection::Flush() {
  SendAll();
  while (pending_ > 0) ReadReply();
}

std::string Connection::Ask(std::initializer_list<std::string_view> words) {
  Flush();
  Append(words);
  SendAll();
  return ReadReply();
}

// Answers are collected while sending: a server whose answers nobody takes stops reading.
void Connection::SendAll() {
  size_t sent_bytes = 0;
  while (sent_bytes < out_.size()) {
    short seen = 0;
    if (!WaitFor({{socket_, POLLIN | POLLOUT, &seen}}, AnswerDeadline()))
      ThrowLost("Redis takes no more commands");
    if ((seen & POLLIN) != 0) ReadMore();
    if ((seen & (POLLOUT | POLLERR | POLLHUP)) == 0) continue;
    const ssize_t sent =
        send(socket_, out_.data() + sent_bytes, out_.size() - sent_bytes, MSG_NOSIGNAL);
    if (sent > 0) sent_bytes += static_cast<size_t>(sent);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) ThrowLost("the connection to Redis broke");
  }
  out_.clear();
}

void Connection::ReadMore() {
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
  }
  char buffer[1 << 16];
  const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
  if (got == 0) {
    errno = ECONNRESET;
    ThrowLost("Redis closed the connection");
  }
  if (got > 0) in_.append(buffer, static_cast<size_t>(got));
  if (got < 0 && errno != EAGAIN && errno != EINTR) ThrowLost("the connection to Redis broke");
}

std::string Connection::ReadLine() {
  for (;;) {
    const size_t end = in_.find("\r\n", in_begin_);
    if (end != std::string::npos) {
      std::string line = in_.substr(in_begin_, end - in_begin_);
      in_begin_ = end + 2;
      return line;
    }
    if (!WaitFor({{socket_, POLLIN}}, AnswerDeadline())) ThrowLost("Redis does not answer");
    ReadMore();
  }
}

std::string Connection::ReadReply() {
  const std::string line = ReadLine();
  --pending_;
  if (line.starts_with('-')) throw Failure(fmt::format("Redis answered: {}", line.substr(1)));
  if (!line.starts_with('$')) return line.substr(1);
  const long length = std::strtol(line.c_str() + 1, nullptr, 10);
  if (length < 0) return "";
  const size_t whole_bytes = static_cast<size_t>(length) + 2;
  while (in_.size() - in_begin_ < whole_bytes) {
    if (!WaitFor({{socket_, POLLIN}}, AnswerDeadline())) ThrowLost("Redis does not answer");
    ReadMore();
  }
  std::string text = in_.substr(in_begin_, whole_bytes - 2);
  in_begin_ += whole_bytes;
  return text;
}

void Connection::ThrowLost(const char* what) const {
  ThrowIfInterrupted();
  throw Failure(what);
}

}  // namespace drover::demo
