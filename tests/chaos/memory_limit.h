// A control group whose memory can be made to run out.
#pragma once

#include <string>

namespace drover::chaos {

// With version 1 of the memory controller: at the limit a touch of memory waits and a system call
// is refused (memory.oom_control = 1: nobody is killed). With version 2: what allocates is held up
// (memory.high).
class MemoryLimit {
 public:
  MemoryLimit();   // made below where this process's groups are mounted
  ~MemoryLimit();  // removed; whoever is still in it must have ended
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

  // False: this machine has no memory controller that one may use.
  bool good() const { return good_; }
  // What a process writes "0" to, to come in.
  std::string tasks() const { return path_ + "/cgroup.procs"; }
  // The limit is what is in use now, or less by `bytes`. / There is none.
  bool Tighten(long bytes) const;
  void Loosen() const;
  // How often the limit was met, since the group was made.
  long times_met() const;

 private:
  bool v1_ = false, good_ = false;
  std::string path_;
};

}  // namespace drover::chaos
