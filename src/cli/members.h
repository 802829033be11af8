// The processes that a move is for: those that are named, a process with its descendants, and those
// of a control group.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <vector>

#include "control/agents.h"
#include "drover/engine.h"

namespace drover::cli {

class Members {
 public:
  // Checks what is named: `pids`, `tree` (0: none) and `cgroup` (empty: none), a path below
  // /sys/fs/cgroup or within it.
  [[nodiscard]] static std::expected<Members, Error> Of(const std::vector<int>& pids, int tree,
                                                        const std::string& cgroup);

  // Those that have not been handed out yet; each call looks again. Named ones come first, then by
  // number. Kernel threads, zombies and drover itself are left out.
  std::vector<control::ProcessInfo> Fresh();

  // Any of them, for what is looked up beforehand.
  int first() const { return first_; }
  // Was it named by its number? Others may come and go.
  bool IsNamed(int pid) const;

 private:
  void AddTree(std::map<int, control::ProcessInfo>* found) const;
  void AddGroup(std::map<int, control::ProcessInfo>* found) const;

  std::vector<control::ProcessInfo> named_;
  int tree_ = 0, first_ = 0;
  std::string folder_;             // of the control group
  std::map<int, uint64_t> known_;  // handed out; with the time of their start
};

}  // namespace drover::cli
