// Puts the helpers of jobs on idle CPUs.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flow/job.h"
#include "topology/helpers.h"

namespace drover::library {

class HelperCpus {
 public:
  // By files below `root`; without a machine it is this one.
  explicit HelperCpus(std::string root = "/", std::optional<topology::Machine> machine = {})
      : root_(std::move(root)), machine_(std::move(machine)) {}

  // Fills job->helper_cpus for a job that asks for copy threads. `pid`: whose memory is moved, 0 is
  // this process. Looks for idle CPUs for topology::kIdleSampleMs, at most every ten seconds, and
  // every second while there are too few for the job.
  void Place(flow::Job* job, int pid);

 private:
  using Clock = std::chrono::steady_clock;
  std::string root_;
  std::optional<topology::Machine> machine_;  // does not change
  std::optional<Clock::time_point> looked_;
  std::vector<int> idle_;
};

}  // namespace drover::library
