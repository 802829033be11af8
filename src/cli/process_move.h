// The move of one process: by its agent, from outside, or both; and what was seen of it.
#pragma once

#include <expected>
#include <functional>

#include "cli/move_options.h"
#include "control/agents.h"
#include "control/protocol.h"
#include "control/steering.h"
#include "drover/engine.h"
#include "report/move_report.h"

namespace drover::cli {

using ShowProgress = std::function<void(const control::Progress&)>;

struct Moved {
  flow::Job job;
  flow::JobResult result;  // of a plan: what would be
  report::Seen seen;
};

// Checks what can be checked beforehand, warns, and moves.
[[nodiscard]] std::expected<Moved, Error> MoveProcess(
    const control::ProcessInfo& process, const flow::Job& job, const MoveOptions& options,
    const topology::Nodes& nodes, control::Steering& steering, const ShowProgress& progress);

int ExitCodeOf(const flow::JobResult& result);

// Writes that a driver made after the copy, and that are lost: says so. False: there are none.
bool WarnOfLostWrites(const MoveResult& shown);

}  // namespace drover::cli
