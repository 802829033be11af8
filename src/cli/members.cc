#include "cli/members.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "cli/exit_codes.h"

namespace drover::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGroups = "/sys/fs/cgroup";

bool IsMovable(const control::ProcessInfo& process) {
  return !process.kernel_thread && process.state != 'Z' && process.state != 'X' &&
         process.pid != getpid();
}

// The folder itself, or the group of that name.
std::expected<std::string, Error> FolderOf(const std::string& group) {
  std::error_code ignored;
  const std::string inside = std::string(kGroups) + "/" + group;
  for (const std::string& folder : {group, inside})
    if (folder.starts_with(kGroups) && fs::exists(folder + "/cgroup.procs", ignored)) return folder;
  return std::unexpected(
      Unavailable(fmt::format("there is no control group {} (looked for {}/cgroup.procs); see "
                              "`systemd-cgls`",
                              group, inside)));
}

}  // namespace

std::expected<Members, Error> Members::Of(const std::vector<int>& pids, int tree,
                                          const std::string& cgroup) {
  Members members;
  for (const int pid : pids) {
    const auto process = control::CheckTarget(pid);
    if (!process.has_value()) return std::unexpected(process.error());
    if (!members.IsNamed(pid)) members.named_.push_back(*process);
  }
  members.tree_ = tree;
  members.first_ = members.named_.empty() ? tree : members.named_[0].pid;
  if (tree != 0)
    if (const auto process = control::CheckTarget(tree); !process.has_value())
      return std::unexpected(process.error());
  if (cgroup.empty()) return members;
  const auto folder = FolderOf(cgroup);
  if (!folder.has_value()) return std::unexpected(folder.error());
  members.folder_ = *folder;
  std::map<int, control::ProcessInfo> found;
  members.AddGroup(&found);
  if (found.empty())
    return std::unexpected(
        Unavailable(fmt::format("the control group {} has no process that can be moved", cgroup)));
  if (members.first_ == 0) members.first_ = found.begin()->first;
  return members;
}

bool Members::IsNamed(int pid) const {
  return pid == tree_ || std::any_of(named_.begin(), named_.end(),
                                     [&](const auto& named) { return named.pid == pid; });
}

// Who descends from one that is known descends, also when those between have ended.
void Members::AddTree(std::map<int, control::ProcessInfo>* found) const {
  std::map<int, control::ProcessInfo> all;
  for (const control::ProcessInfo& process : control::ListProcesses())
    all.emplace(process.pid, process);
  std::set<int> inside = {tree_};
  for (const auto& [pid, start] : known_)
    if (const auto it = all.find(pid); it != all.end() && it->second.start_time_ticks == start)
      inside.insert(pid);
  for (bool more = true; more;) {
    more = false;
    for (const auto& [pid, process] : all)
      if (inside.contains(process.parent)) more = inside.insert(pid).second || more;
  }
  for (const int pid : inside)
    if (const auto it = all.find(pid); it != all.end()) found->emplace(*it);
}

void Members::AddGroup(std::map<int, control::ProcessInfo>* found) const {
  std::error_code ignored;
  std::vector<fs::path> folders = {folder_};
  for (fs::recursive_directory_iterator it(folder_, ignored), end; it != end; it.increment(ignored))
    if (it->is_directory(ignored)) folders.push_back(it->path());
  for (const fs::path& folder : folders) {
    std::ifstream list(folder / "cgroup.procs");
    for (int pid; list >> pid;)
      if (const auto process = control::ReadProcess(pid);
          process.has_value() && IsMovable(*process))
        found->emplace(pid, *process);
  }
}

std::vector<control::ProcessInfo> Members::Fresh() {
  std::vector<control::ProcessInfo> fresh;
  const auto add = [&](const control::ProcessInfo& process) {
    const auto it = known_.find(process.pid);
    if (it != known_.end() && it->second == process.start_time_ticks) return;
    known_[process.pid] = process.start_time_ticks;
    fresh.push_back(process);
  };
  std::map<int, control::ProcessInfo> others;
  if (tree_ != 0) AddTree(&others);
  if (!folder_.empty()) AddGroup(&others);
  for (const control::ProcessInfo& process : named_) add(process);
  for (const auto& [pid, process] : others)
    if (IsMovable(process)) add(process);
  return fresh;
}

}  // namespace drover::cli
