// bench migrate and its kin: how fast drover relocates memory of its own process, beside both
// floors and, where asked for, beside the kernel doing the same, in one run, alternating. Uses the
// public face of the library and nothing else of the engine.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "floor.h"
#include "report/table.h"

namespace drover::bench {

struct MigrateCase {
  std::string page = "4K";     // "2M"; "4K-2M": small pages become huge ones
  std::string pool = "fresh";  // or "reuse": originals are the next targets
  std::string migrator;
  int threads = 1;  // CPUs that all engine threads share
  size_t batch_bytes = 2u << 20;
  size_t total_bytes = size_t{1} << 30;
};

// serial, threads:2, ...: what uses so many CPUs.
std::string MigratorOf(int threads);
// Each of these with each of those; totals are the innermost.
std::vector<MigrateCase> CasesOf(const std::vector<std::string>& pages,
                                 const std::vector<std::string>& pools,
                                 const std::vector<size_t>& batches_bytes,
                                 const std::vector<int>& threads,
                                 const std::vector<size_t>& totals_bytes);

struct MigrateOptions {
  std::vector<MigrateCase> cases;
  double max_stall_us = 0;  // 0: none
  Precopy precopy = Precopy::kAuto;
  int rounds = 5;
  bool check_floor = false;
  // The kernel's own call for the same job beside it: MADV_COLLAPSE for 4K-2M; move_pages(2) for
  // others where `nodes` has two.
  bool beside_kernel = true;
  BufferNodes nodes = {};  // none: fresh pages on the node where the memory is
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

// The kernel on the same bytes with as many threads.
struct BesideKernel {
  std::string how;
  double gb_per_s = 0;
  double ratio = 0, ratio_min = 0, ratio_max = 0;  // its time / drover's, per round
};

struct MigrateRow {
  MigrateCase of;
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
  // Of these: without helpers, by a trial, or because no CPU was idle for one.
  uint64_t batches_alone = 0;
  // By how much this process was larger at most during a move than before it: targets that are
  // ready, originals that are not yet freed, and all that the engine keeps.
  size_t extra_memory_bytes = 0;
  std::optional<BesideKernel> kernel;
};

struct MigrateReport {
  std::string copy_function;
  std::vector<MigrateRow> rows;
  std::vector<report::Skipped> skipped;
  // Plain loop's time / floor's time, median, where it was asked for; below 0.95 is an error.
  double floor_check = 0;
};

[[nodiscard]] std::expected<MigrateReport, Error> RunMigrate(const MigrateOptions& options);

}  // namespace drover::bench
