#include "control/agents.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "control/printable.h"
#include "control/stat_text.h"

namespace drover::control {
namespace {

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Proc(int pid, const char* file) {
  return fmt::format("/proc/{}/{}", pid, file);
}

// Reads the marker out of the process's memory.
std::optional<Marker> ReadMarker(int pid, uint64_t address) {
  const int memory = open(Proc(pid, "mem").c_str(), O_RDONLY | O_CLOEXEC);
  if (memory < 0) return std::nullopt;
  Marker marker;
  const ssize_t got = pread(memory, &marker, sizeof marker, static_cast<off_t>(address));
  close(memory);
  if (got != static_cast<ssize_t>(sizeof marker) ||
      std::memcmp(marker.magic, Marker::kMagicText, sizeof marker.magic) != 0)
    return std::nullopt;
  marker.socket_path[sizeof marker.socket_path - 1] = '\0';
  marker.build[sizeof marker.build - 1] = '\0';
  for (char& c : marker.build)
    if (c != '\0' && (c < ' ' || c > '~')) c = '?';
  for (migrators::PluginName& plugin : marker.plugins) {
    migrators::PluginName checked;
    plugin.text[sizeof plugin.text - 1] = '\0';
    if (!migrators::MakePluginName(plugin.view(), &checked)) checked = {};
    plugin = checked;
  }
  return marker;
}

}  // namespace

std::optional<ProcessInfo> ReadProcess(int pid) {
  auto info = ParseStat(ReadWhole(Proc(pid, "stat")));
  if (!info.has_value()) return std::nullopt;
  info->pid = pid;
  struct stat folder;
  if (::stat(Proc(pid, "").c_str(), &folder) == 0) info->user = folder.st_uid;
  info->command = ReadWhole(Proc(pid, "cmdline"));
  while (!info->command.empty() && info->command.back() == '\0') info->command.pop_back();
  MakePrintable(info->command);
  if (info->command.empty()) info->command = fmt::format("[{}]", info->name);
  return info;
}

std::vector<ProcessInfo> ListProcesses() {
  std::vector<ProcessInfo> processes;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const int pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    if (const auto process = ReadProcess(pid); process.has_value()) processes.push_back(*process);
  }
  return processes;
}

Still LookAgain(const ProcessInfo& process) {
  const auto now = ReadProcess(process.pid);
  if (!now.has_value() || now->state == 'Z' || now->state == 'X' ||
      now->start_time_ticks != process.start_time_ticks)
    return Still::kGone;
  // 0: it may not be looked at, or is on its way to its end.
  const bool same =
      now->stack_start == process.stack_start || now->stack_start == 0 || process.stack_start == 0;
  return same ? Still::kSame : Still::kOtherProgram;
}

Error NotTheSame(const ProcessInfo& process) {
  const auto now = ReadProcess(process.pid);
  if (LookAgain(process) != Still::kOtherProgram || !now.has_value())
    return {Error::Kind::kTargetGone, fmt::format("process {} has ended meanwhile", process.pid)};
  return {Error::Kind::kTargetGone,
          fmt::format("process {} has begun another program meanwhile ({}), and its old memory is "
                      "gone; look at it again, and repeat the command if it is still the one",
                      process.pid, now->command)};
}

namespace {

// Numbers of another pid namespace would name other processes to the kernel than to /proc.
bool ProcIsOurs() {
  char self[32] = {};
  const ssize_t got = readlink("/proc/self", self, sizeof self - 1);
  return got > 0 && std::atoi(self) == getpid();
}

// Why /proc does not show a process.
Error NotShown(int pid) {
  if (kill(pid, 0) == 0 || errno == EPERM)
    return {Error::Kind::kNotPermitted,
            fmt::format("process {} is hidden from this user (/proc is mounted with hidepid); run "
                        "drover as that process's user or as root",
                        pid)};
  return {Error::Kind::kUnavailable, fmt::format("there is no process {}; see `ps -e`", pid)};
}

enum class Memory { kSeen, kGone, kHidden };

// An ending process that is no zombie yet has none: its maps are empty, or (Linux 6.15) not found.
Memory LookAtMemory(int pid) {
  const int file = open(Proc(pid, "maps").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno == EACCES || errno == EPERM ? Memory::kHidden : Memory::kGone;
  char first;
  const ssize_t got = read(file, &first, 1);
  close(file);
  return got == 1 ? Memory::kSeen : got == 0 ? Memory::kGone : Memory::kHidden;
}

}  // namespace

std::expected<ProcessInfo, Error> CheckTarget(int pid) {
  if (!ProcIsOurs())
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              "/proc is not mounted, or shows the processes of another pid namespace; mount this "
              "one's (`mount -t proc proc /proc`), or run drover outside the container"});
  const auto info = ReadProcess(pid);
  if (!info.has_value()) return std::unexpected(NotShown(pid));
  if (info->kernel_thread)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("process {} ({}) is a kernel thread and has no memory of its own; name a "
                          "program's process",
                          pid, info->name)});
  if (info->state == 'Z' || info->state == 'X')
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("process {} ({}) has ended and waits for its parent (zombie); there is "
                          "nothing left to move",
                          pid, info->name)});
  switch (LookAtMemory(pid)) {
    case Memory::kSeen:
      return *info;
    case Memory::kGone:
      return std::unexpected(
          Error{Error::Kind::kUnavailable,
                fmt::format("process {} ({}) is ending and has given its memory back; there is "
                            "nothing left to move",
                            pid, info->name)});
    default:
      return std::unexpected(Error{
          Error::Kind::kNotPermitted,
          fmt::format("process {} ({}) belongs to user {}; run drover as that user or as root", pid,
                      info->name, info->user)});
  }
}

std::expected<std::optional<Marker>, Error> FindMarker(const ProcessInfo& process) {
  std::ifstream maps(Proc(process.pid, "maps"));
  if (!maps) {
    const int error = errno;
    if (LookAgain(process) != Still::kSame) return std::unexpected(NotTheSame(process));
    return std::unexpected(Error{Error::Kind::kNotPermitted,
                                 fmt::format("the mappings of process {} cannot be read: {}",
                                             process.pid, std::strerror(error))});
  }
  for (std::string line; std::getline(maps, line);) {
    if (line.find("[anon:drover]") == std::string::npos &&
        line.find("/memfd:drover (deleted)") == std::string::npos)
      continue;
    const auto marker = ReadMarker(process.pid, std::strtoull(line.c_str(), nullptr, 16));
    // A mapping that came along from another process carries that one's start time.
    if (marker.has_value() && marker->start_time_ticks == process.start_time_ticks) return marker;
  }
  return std::nullopt;
}

std::expected<std::optional<Marker>, Error> FindServingMarker(const ProcessInfo& process) {
  constexpr int kLooks = 200;
  constexpr useconds_t kNapUs = 5'000;
  for (int look = 0;; ++look) {
    auto marker = FindMarker(process);
    const bool starting = marker.has_value() && marker->has_value() &&
                          static_cast<Marker::State>((*marker)->state) == Marker::State::kStarting;
    if (!starting || look == kLooks) return marker;
    usleep(kNapUs);
  }
}

std::vector<AgentInfo> ListAgents() {
  std::vector<AgentInfo> agents;
  for (const ProcessInfo& process : ListProcesses()) {
    if (process.kernel_thread) continue;
    const auto marker = FindMarker(process);
    if (marker.has_value() && marker->has_value()) agents.push_back({process, **marker});
  }
  return agents;
}

int SweepStaleSockets() {
  std::vector<std::string> folders = {"/run/drover", fmt::format("/tmp/drover-{}", geteuid())};
  if (const char* own = std::getenv("DROVER_DIR")) folders.push_back(own);
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"))
    folders.push_back(std::string(runtime) + "/drover");
  int swept = 0;
  for (const std::string& folder : folders) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename();
      int pid = 0;
      unsigned nonce = 0;
      if (!entry.is_socket(error) || std::sscanf(name.c_str(), "%d-%x", &pid, &nonce) != 2)
        continue;
      // Another process may have the number by now: only its own marker makes the path live.
      const auto process = ReadProcess(pid);
      bool live = false;
      if (process.has_value() && process->state != 'Z') {
        const auto marker = FindMarker(*process);
        live =
            !marker.has_value() || (marker->has_value() && ((*marker)->nonce & 0xffffff) == nonce);
      }
      if (!live && std::filesystem::remove(entry.path(), error)) ++swept;
    }
  }
  return swept;
}

}  // namespace drover::control
