// drover_victim, started and listened to.
#pragma once

#include <string>
#include <vector>

#include "vm/kernels_account.h"

namespace drover::vm {

enum class With { kAgent, kNoAgent };

class StartedVictim {
 public:
  StartedVictim(With with, std::vector<std::string> options);
  ~StartedVictim();
  StartedVictim(const StartedVictim&) = delete;
  StartedVictim& operator=(const StartedVictim&) = delete;

  int pid() const { return pid_; }  // 0: it never became ready
  PageRange small() const { return small_; }
  PageRange huge() const { return huge_; }
  PageRange mixed() const { return mixed_; }
  uint64_t pages() const { return small_.pages() + huge_.pages(); }
  // Ends it; its exit code, 0 where every word was right; 128 + signal.
  int End();

 private:
  void ReadReadyLine(int from);

  int child_ = -1;
  int pid_ = 0;
  PageRange small_, huge_, mixed_;
};

}  // namespace drover::vm
