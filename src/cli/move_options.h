// What `drover move` and `drover exchange` are told on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <expected>
#include <string>
#include <vector>

#include "cli/precopy.h"
#include "drover/engine.h"
#include "flow/job.h"
#include "topology/nodes.h"

namespace drover::cli {

struct MoveOptions {
  std::vector<int> pids;
  int tree = 0;        // and all that descend from it; 0: not given
  std::string cgroup;  // and all that it holds
  std::string command = "move";
  std::string with;  // of `exchange`: the other side's ranges
  std::string to, from, range, batch = "2m", max_stall = "500us", migrator = "serial",
                               mode = "sync_light", reason = "syscall", rate = "none", cpu = "none",
                               time = "none", page_size = "keep", copy_through = "auto";
  PrecopyWord precopy;
  double retry_for_s = 1;
  bool over_budget = false, json = false, dry_run = false, verify = false, shared = false,
       unshare = false, reuse = false, detach = false;

  // Is it for one process, so that the report is that one's?
  bool for_one() const { return pids.size() == 1 && tree == 0 && cgroup.empty(); }
};

void AddMoveOptions(CLI::App& move, MoveOptions& options);
void AddExchangeOptions(CLI::App& exchange, MoveOptions& options);
// Do those that both have go together? Behind the parsing; throws as CLI11 does.
void CheckHow(const CLI::App& command, const MoveOptions& options);

// The job for this process: what its agent can do is looked up there.
[[nodiscard]] std::expected<flow::Job, Error> JobOf(const MoveOptions& options, int pid,
                                                    const topology::Nodes& nodes);

// The job as one, by what it asks for.
flow::Job Whole(flow::Job job, const MoveOptions& options);

}  // namespace drover::cli
