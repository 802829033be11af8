// bench stall: what a program notices of a move, by a probe of its own (probe.h) beside drover's
// account.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "report/table.h"

namespace drover::bench {

struct StallOptions {
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<double> max_stalls_us = {100, 200, 500, 2000};  // 0: none
  std::vector<std::string> sides = {"drover", "none"};  // kernel: by itself; none: nothing is moved
  unsigned probe_threads = 1;
  size_t total_bytes = 1u << 30;
  std::string migrator = "serial";
  bool over_budget = false;
  Precopy precopy = Precopy::kAuto;
  int rounds = 3;
};

// An access is stalled where its own interval overlaps a window on its page. One of more than
// kLongUs that is not is unexplained.
inline constexpr double kLongUs = 20;

struct StallRow {
  std::string side, page;
  std::string how;  // of side kernel: by which call
  double max_stall_us = 0;
  unsigned probe_threads = 0;
  int rounds = 0;
  double seconds = 0;  // of all rounds
  uint64_t accesses = 0, stalled = 0, unexplained = 0, wrong_words = 0;
  double probe_p50_us = 0, probe_p99_us = 0, probe_p999_us = 0, probe_max_us = 0;
  double probe_stalled_p50_us = 0, probe_stalled_p99_us = 0;
  // Of all accesses: what the share 1 - 1/2^k of them took at most, k from 1 on, for a figure.
  std::vector<double> probe_tail_us = {};
  // Of drover's result; medians over the rounds, and the longest. Counts are of all rounds.
  double drover_p50_us = 0, drover_p99_us = 0, drover_max_us = 0, gb_per_s = 0;
  uint64_t waits = 0, windows = 0, windows_over_budget = 0, windows_preempted = 0;
  uint64_t over_budget_pages = 0;
  double smallest_max_stall_us = 0;
};

struct StallReport {
  std::vector<StallRow> rows;
  std::vector<report::Skipped> skipped;
};

// The sides alternate, round by round; side none takes as long as the move before it.
[[nodiscard]] std::expected<StallReport, Error> RunStall(
    const StallOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace drover::bench
