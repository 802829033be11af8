// The memory of a program of bench app's moved, by one side.
#pragma once

#include <sys/types.h>

#include <string>
#include <thread>

#include "demo/waiting.h"
#include "kernel/kernel.h"

namespace drover::bench {

// Whose moves, and how.
struct AppSide {
  std::string name;       // "none", "drover", "kernel"
  std::string max_stall;  // of drover's
  int passes = 1;         // over the program's memory; 0: on and on
};

class AppMoves {
 public:
  // Until `seconds` are over, or Stop. The process has drover's agent.
  AppMoves(AppSide side, std::string drover, pid_t pid, double seconds);
  ~AppMoves() { Stop(); }
  AppMoves(const AppMoves&) = delete;
  AppMoves& operator=(const AppMoves&) = delete;

  void Stop();
  // Behind Stop.
  double gb_moved() const { return static_cast<double>(bytes_) / 1e9; }
  const std::string& how() const { return how_; }
  const std::string& error() const { return error_; }  // empty: none

 private:
  void Run();
  void MoveByDrover();
  void MoveByKernel(int number);
  void CollapseAll(kernel::Kernel& kernel);
  bool GoesOn() const;

  const AppSide side_;
  const std::string drover_;
  const pid_t pid_;
  const demo::Clock::time_point end_;
  std::atomic<bool> stop_ = false;
  bool nothing_left_ = false;
  uint64_t bytes_ = 0;
  std::string how_, error_;
  std::thread thread_;  // last: uses the others
};

}  // namespace drover::bench
