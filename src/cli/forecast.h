// How long a planned move would take here: from what moving memory of drover's own costs right now,
// by the same batch and engine.
#pragma once

#include <optional>
#include <string>

#include "flow/job.h"

namespace drover::cli {

// What a job costs before its first page, and each batch beside its pages, in seconds.
struct Fixed {
  double job_s = 0, batch_s = 0;
};

// Seconds per 4 KiB page, and the window of a batch.
struct Speeds {
  std::optional<Fixed> own_fixed;
  std::optional<double> own_small_s, own_huge_s;  // nullopt: could not be measured
  std::optional<double> kernel_s;                 // by move_pages; needs two nodes
  double window_us = 0;                           // median
};

struct Forecast {
  std::optional<double> seconds;
  std::optional<double> window_us;
  std::string unknown;     // why there is no figure
  unsigned idle_cpus = 0;  // when the plan was made; with none the move competes with the program
};

// Moves a few MiB of scratch memory of this process. `plan`: the result of a job with plan_only.
Forecast Predict(const flow::Job& job, const std::string& migrator, const flow::JobResult& plan);

}  // namespace drover::cli
