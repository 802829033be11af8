#include "migrate_trace.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace drover::bench {
namespace {

constexpr const char* kInstances = "/sys/kernel/tracing/instances";

std::unexpected<Error> Refused(const std::string& what) {
  const auto kind =
      errno == EACCES || errno == EPERM ? Error::Kind::kNotPermitted : Error::Kind::kUnavailable;
  return std::unexpected(Error{kind, fmt::format("{}: {}", what, std::strerror(errno))});
}

// "   drover-4711  [001] .....  1234.567890: mm_migrate_pages_start: mode=..."; negative: no such.
double SecondsOf(const std::string& line, size_t event) {
  const size_t colon = line.rfind(':', event - 2), space = line.rfind(' ', colon);
  if (colon == std::string::npos || space == std::string::npos) return -1;
  try {
    return std::stod(line.substr(space + 1, colon - space - 1));
  } catch (const std::exception&) {
    return -1;
  }
}

}  // namespace

std::expected<MigrateTrace, Error> MigrateTrace::Open(Restorer& restorer) {
  const std::string folder = fmt::format("{}/drover-{}", kInstances, getpid());
  if (!restorer.Promise(folder, {}))
    return std::unexpected(Error{Error::Kind::kFailed, "nobody would take the trace away again"});
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Refused(fmt::format("no trace can be made in {} (is tracefs mounted?)", kInstances));
  if (!WriteText(folder + "/set_event_pid", std::to_string(gettid())))
    return Refused("the trace cannot be kept to this process");
  for (const char* const event : {"mm_migrate_pages_start", "mm_migrate_pages"})
    if (!WriteText(fmt::format("{}/events/migrate/{}/enable", folder, event), "1"))
      return Refused(fmt::format("the kernel has no tracepoint migrate:{}", event));
  return MigrateTrace(folder);
}

bool MigrateTrace::Begin() const {
  return std::ofstream(folder_ + "/trace", std::ios::trunc).good();
}

double MigrateTrace::EndSeconds() const {
  std::ifstream trace(folder_ + "/trace");
  double seconds = 0, begun = -1;
  for (std::string line; std::getline(trace, line);) {
    if (const size_t at = line.find("mm_migrate_pages_start:"); at != std::string::npos) {
      begun = SecondsOf(line, at);
    } else if (const size_t end = line.find("mm_migrate_pages:"); end != std::string::npos) {
      const double ended = SecondsOf(line, end);
      if (begun < 0 || ended < begun) return -1;
      seconds += ended - begun;
      begun = -1;
    }
  }
  return seconds;
}

}  // namespace drover::bench
