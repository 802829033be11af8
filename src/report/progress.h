// One line on a terminal that tells how far a move is, how fast, and how long it will take.
#pragma once

#include <chrono>
#include <cstdint>

namespace drover::report {

// Of the pages that a job is about: the share that is done, as far as is known; 0 to 1.
double ShareDone(uint64_t pages_done, uint64_t pages_estimated);

// Writes to stderr, and only when that is a terminal.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();  // wipes the line
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void Show(uint64_t pages_done, uint64_t pages_estimated);

 private:
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace drover::report
