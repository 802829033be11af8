#include "jobs/wire.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>

#include "control/printable.h"

namespace drover::jobs {

Address AddressOf(const std::string& name) {
  Address address;
  address.name.sun_family = AF_UNIX;
  const size_t length = std::min(name.size(), sizeof address.name.sun_path - 1);
  std::memcpy(address.name.sun_path + 1, name.data(), length);  // behind a 0: abstract
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

std::string NewName(int job) {
  std::random_device random;
  return fmt::format("{}{}-{:08x}{:08x}", kNamePrefix, job, random(), random());
}

namespace {

// False: not by then.
bool WaitFor(int socket, short events, Deadline deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  pollfd wait{socket, events, 0};
  return left.count() > 0 && poll(&wait, 1, static_cast<int>(left.count())) > 0;
}

}  // namespace

std::optional<std::string> ReadAll(int socket, size_t bytes_max, Deadline deadline) {
  std::string text;
  char part[4096];
  while (text.size() < bytes_max) {
    if (!WaitFor(socket, POLLIN, deadline)) return std::nullopt;
    const ssize_t got = recv(socket, part, sizeof part, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    text.append(part, static_cast<size_t>(got));
  }
  return text;
}

bool WriteAll(int socket, const std::string& text, Deadline deadline) {
  for (size_t at = 0; at < text.size();) {
    if (!WaitFor(socket, POLLOUT, deadline)) return false;
    const ssize_t put =
        send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put <= 0) return false;
    at += static_cast<size_t>(put);
  }
  return true;
}

nlohmann::json ToJson(const Status& status) {
  nlohmann::json json = {{"job", status.job},
                         {"user", status.user},
                         {"state", status.state},
                         {"detached", status.detached},
                         {"processes", status.processes},
                         {"processes_done", status.processes_done},
                         {"pid", status.pid},
                         {"name", status.name},
                         {"pages_done", status.pages_done},
                         {"pages_estimated", status.pages_estimated},
                         {"pages_moved_before", status.pages_moved},
                         {"seconds", status.seconds},
                         {"exit_code", nullptr}};
  if (status.exit_code >= 0) json["exit_code"] = status.exit_code;
  return json;
}

std::optional<Status> StatusFrom(const nlohmann::json& json) {
  try {
    Status status;
    status.job = json.at("job");
    status.user = json.at("user");
    status.state = json.at("state");
    status.detached = json.at("detached");
    status.processes = json.at("processes");
    status.processes_done = json.at("processes_done");
    status.pid = json.at("pid");
    status.name = json.at("name");
    status.pages_done = json.at("pages_done");
    status.pages_estimated = json.at("pages_estimated");
    status.pages_moved = json.at("pages_moved_before");
    status.seconds = json.at("seconds");
    if (!json.at("exit_code").is_null()) status.exit_code = json.at("exit_code");
    control::MakePrintable(status.state);
    control::MakePrintable(status.name);
    return status;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace drover::jobs
