#include "jobs/wire.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "control/printable.h"

namespace drover::jobs {

Address AddressOf(int job) {
  Address address;
  address.name.sun_family = AF_UNIX;
  const std::string name = kNamePrefix + std::to_string(job);
  std::memcpy(address.name.sun_path + 1, name.data(), name.size());  // behind a 0: abstract
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

std::string ReadAll(int socket, size_t bytes_max) {
  std::string text;
  char part[4096];
  while (text.size() < bytes_max) {
    const ssize_t got = read(socket, part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(part, static_cast<size_t>(got));
  }
  return text;
}

bool WriteAll(int socket, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t put = send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
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
