// bench migrate: how fast drover relocates memory of its own process, beside both floors, in one
// run, alternating. Uses the public face of the library and nothing else of the engine.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::bench {

struct MigrateOptions {
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<int> threads = {1};
  std::vector<std::string> pools = {"fresh"};  // or "reuse": originals are the next targets
  size_t total_bytes = size_t{1} << 30;
  std::vector<size_t> batches_bytes = {2u << 20};
  double max_stall_us = 0;  // 0: none
  Precopy precopy = Precopy::kAuto;
  int rounds = 5;
  bool check_floor = false;
};

struct MigrateRow {
  std::string page, pool;
  int threads = 0;
  std::string migrator;
  size_t total_bytes = 0, batch_bytes = 0;
  int rounds = 0;
  double gb_per_s = 0, gb_per_s_min = 0, gb_per_s_max = 0;
  double cpu_s = 0;  // of the whole process, per round (median)
  double copy_floor_gb_per_s = 0, fresh_floor_gb_per_s = 0;
  // Floor's time / drover's time, taken per round: the fresh floor's where the targets are fresh,
  // else the copy floor's.
  double efficiency = 0, efficiency_min = 0, efficiency_max = 0;
  double copy_efficiency = 0;   // against the copy floor in any case
  MoveResult::Phases phases_s;  // of the last round
  double window_p50_us = 0, window_p99_us = 0, window_max_us = 0;
  // Of all rounds. Over the budget: of those in which the engine had its CPU.
  uint64_t windows = 0, windows_over_budget = 0, windows_preempted = 0;
};

struct MigrateReport {
  std::string copy_function;
  std::vector<MigrateRow> rows;
  struct Skipped {
    std::string row, reason;
  };
  std::vector<Skipped> skipped;
  // Plain loop's time / floor's time, median, where it was asked for; below 0.95 is an error.
  double floor_check = 0;
};

[[nodiscard]] std::expected<MigrateReport, Error> RunMigrate(const MigrateOptions& options);

}  // namespace drover::bench
