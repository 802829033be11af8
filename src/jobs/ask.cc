#include "jobs/ask.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "jobs/wire.h"

namespace drover::jobs {
namespace {

using namespace std::chrono_literals;

// A pause is answered when it has begun, which may take its time on a busy machine.
constexpr timeval kPatience{10, 0};
constexpr auto kStopPatience = 60s;

Error Gone(int job) {
  return {Error::Kind::kTargetGone,
          fmt::format("there is no job {} (any more); see `drover jobs`", job)};
}

class Socket {
 public:
  Socket() : descriptor_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

std::expected<nlohmann::json, Error> AskRaw(int job, const char* request) {
  const Socket socket;
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  const Address address = AddressOf(job);
  if (connect(socket.get(), address.get(), address.length) != 0)
    return std::unexpected(errno == ECONNREFUSED ? Gone(job)
                                                 : Error{Error::Kind::kFailed,
                                                         fmt::format("job {} cannot be asked: {}",
                                                                     job, std::strerror(errno))});
  // Anybody may take the name of a job.
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid != job)
    return std::unexpected(Gone(job));
  if (geteuid() != 0 && peer.uid != geteuid())
    return std::unexpected(Error{
        Error::Kind::kNotPermitted,
        fmt::format("job {} belongs to user {}; ask as that user or as root", job, peer.uid)});
  std::string answer;
  if (WriteAll(socket.get(), request) && shutdown(socket.get(), SHUT_WR) == 0)
    answer = ReadAll(socket.get(), kAnswerBytesMax);
  if (answer.empty()) return std::unexpected(Gone(job));
  auto json = nlohmann::json::parse(answer, nullptr, false);
  if (!json.is_object())
    return std::unexpected(
        Error{Error::Kind::kFailed, fmt::format("job {} answers in another way; is it of another "
                                                "version of drover?",
                                                job)});
  return json;
}

// The kernel's list of sockets; a name in the abstract namespace begins with @ there.
std::set<int> JobsInTheList() {
  std::set<int> jobs;
  std::ifstream list("/proc/net/unix");
  const std::string prefix = std::string(" @") + kNamePrefix;
  for (std::string line; std::getline(list, line);) {
    const size_t at = line.find(prefix);
    if (at == std::string::npos) continue;
    const std::string number = line.substr(at + prefix.size());
    int job = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), job);
    if (error == std::errc() && end == number.data() + number.size() && job > 0) jobs.insert(job);
  }
  return jobs;
}

}  // namespace

std::expected<Status, Error> Ask(int job, const char* request) {
  const auto answer = AskRaw(job, request);
  if (!answer.has_value()) return std::unexpected(answer.error());
  const auto status = StatusFrom(*answer);
  if (!status.has_value())
    return std::unexpected(
        Error{Error::Kind::kFailed,
              fmt::format("job {} is of another version of drover; ask by that one", job)});
  return *status;
}

std::vector<Status> List() {
  std::vector<Status> list;
  for (const int job : JobsInTheList())
    if (const auto status = Ask(job, kStatus); status.has_value()) list.push_back(*status);
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
  const auto status = StatusFrom(*answer);
  if (!status.has_value() || status->state != "ended" || !answer->contains("out") ||
      !answer->contains("err") || !(*answer)["out"].is_string() || !(*answer)["err"].is_string())
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("job {} has not ended yet", job)});
  return Report{(*answer)["out"], (*answer)["err"], status->exit_code};
}

}  // namespace drover::jobs
