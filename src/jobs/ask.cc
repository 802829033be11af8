#include "jobs/ask.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include "control/peer.h"
#include "control/printable.h"
#include "jobs/wire.h"

namespace drover::jobs {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 2s;
// A pause is answered when it has begun, which may take its time on a busy machine.
constexpr auto kPausePatience = 10s;
constexpr auto kReportPatience = 60s;
constexpr auto kStopPatience = 60s;
// Sockets that claim to be one job's, of which others than that job may have made some.
constexpr size_t kClaimsMax = 16;

Error Gone(int job) {
  return {Error::Kind::kTargetGone,
          fmt::format("there is no job {} (any more); see `drover jobs`", job)};
}

Error Silent(int job) {
  return {Error::Kind::kFailed,
          fmt::format("job {} does not answer (is it stopped? `kill -CONT {}`)", job, job)};
}

class Socket {
 public:
  Socket() : descriptor_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// By job: the names of sockets that claim to be its, from the kernel's list; a name in the abstract
// namespace begins with @ there.
std::map<int, std::vector<std::string>> Claims() {
  std::map<int, std::vector<std::string>> claims;
  std::ifstream list("/proc/net/unix");
  const std::string prefix = kNamePrefix;
  for (std::string line; std::getline(list, line);) {
    const size_t at = line.find(" @" + prefix);
    if (at == std::string::npos) continue;
    const std::string name = line.substr(at + 2);
    int job = 0;
    const char* const number = name.data() + prefix.size();
    const auto [end, error] = std::from_chars(number, name.data() + name.size(), job);
    if (error != std::errc() || job <= 0 || end == name.data() + name.size() || *end != '-')
      continue;
    auto& names = claims[job];
    if (names.size() < kClaimsMax && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  }
  return claims;
}

struct Connection {
  Socket socket;
  unsigned user = 0;
};

// To the process of that number, whoever else claims to be it.
std::expected<Connection, Error> ConnectTo(int job, const std::vector<std::string>& names) {
  bool full = false;
  for (const std::string& name : names) {
    Connection connection;
    const Address address = AddressOf(name);
    if (connect(connection.socket.get(), address.get(), address.length) != 0) {
      full = full || errno == EAGAIN;  // its door is full of callers
      continue;
    }
    const auto peer = control::PeerOf(connection.socket.get());
    if (!peer.has_value() || peer->pid != job) continue;
    if (geteuid() != 0 && peer->uid != geteuid())
      return std::unexpected(Error{
          Error::Kind::kNotPermitted,
          fmt::format("job {} belongs to user {}; ask as that user or as root", job, peer->uid)});
    connection.user = peer->uid;
    return connection;
  }
  return std::unexpected(full ? Silent(job) : Gone(job));
}

struct Answer {
  nlohmann::json json;
  unsigned user = 0;
};

std::expected<Answer, Error> AskBy(int job, const std::vector<std::string>& names,
                                   const std::string& request) {
  const auto connection = ConnectTo(job, names);
  if (!connection.has_value()) return std::unexpected(connection.error());
  const int socket = connection->socket.get();
  const bool for_report = request == kReport;
  const auto deadline = std::chrono::steady_clock::now() + (for_report          ? kReportPatience
                                                            : request == kPause ? kPausePatience
                                                                                : kPatience);
  if (!WriteAll(socket, request, deadline) || shutdown(socket, SHUT_WR) != 0)
    return std::unexpected(Gone(job));
  const auto answer = ReadAll(socket, for_report ? kReportBytesMax : kStatusBytesMax, deadline);
  if (!answer.has_value()) return std::unexpected(Silent(job));
  if (answer->empty()) return std::unexpected(Gone(job));
  auto json = nlohmann::json::parse(*answer, nullptr, false);
  if (!json.is_object())
    return std::unexpected(
        Error{Error::Kind::kFailed, fmt::format("job {} answers in another way; is it of another "
                                                "version of drover?",
                                                job)});
  return Answer{std::move(json), connection->user};
}

std::expected<Answer, Error> AskRaw(int job, const std::string& request) {
  const auto claims = Claims();
  const auto it = claims.find(job);
  return it == claims.end() ? std::unexpected(Gone(job)) : AskBy(job, it->second, request);
}

// The kernel's word where it has one, not the job's.
std::expected<Status, Error> StatusOf(int job, const Answer& answer) {
  auto status = StatusFrom(answer.json);
  if (!status.has_value())
    return std::unexpected(
        Error{Error::Kind::kFailed,
              fmt::format("job {} is of another version of drover; ask by that one", job)});
  status->job = job;
  status->user = answer.user;
  return *status;
}

// Lines stay lines; all else that a terminal may take for a command goes, where it is another
// user's.
std::string Shown(const std::string& text, unsigned user) {
  if (user == geteuid()) return text;
  std::string shown;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    control::MakePrintable(line);
    shown += line + "\n";
  }
  return shown;
}

}  // namespace

std::expected<Status, Error> Ask(int job, const char* request) {
  const auto answer = AskRaw(job, request);
  if (!answer.has_value()) return std::unexpected(answer.error());
  return StatusOf(job, *answer);
}

std::vector<Status> List() {
  std::vector<Status> list;
  for (const auto& [job, names] : Claims()) {
    const auto answer = AskBy(job, names, kStatus);
    const auto status =
        answer.has_value() ? StatusOf(job, *answer) : std::unexpected(answer.error());
    if (status.has_value()) list.push_back(*status);
    if (!status.has_value() && status.error().kind == Error::Kind::kFailed) {
      list.emplace_back();
      list.back().job = job;
      list.back().state = "silent";
    }
  }
  return list;
}

std::expected<Status, Error> Stop(int job) {
  auto status = Ask(job, kCancel);
  if (!status.has_value()) return status;
  Status last = *status;
  for (const auto end = std::chrono::steady_clock::now() + kStopPatience;
       last.state != "ended" && std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(20ms);
    status = Ask(job, kStatus);
    if (status.has_value()) {
      last = *status;
      continue;
    }
    if (status.error().kind != Error::Kind::kTargetGone) return status;
    last.state = "ended";
  }
  return last;
}

std::expected<Report, Error> FetchReport(int job) {
  const auto answer = AskRaw(job, kReport);
  if (!answer.has_value()) return std::unexpected(answer.error());
  const nlohmann::json& json = answer->json;
  const auto status = StatusOf(job, *answer);
  if (!status.has_value() || status->state != "ended" || !json.contains("out") ||
      !json.contains("err") || !json["out"].is_string() || !json["err"].is_string())
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("job {} has not ended yet", job)});
  return Report{Shown(json["out"], answer->user), Shown(json["err"], answer->user),
                status->exit_code};
}

}  // namespace drover::jobs
