// What a move has done, or would do, on stdout: for one process, and for several.
#pragma once

#include <vector>

#include "cli/process_move.h"
#include "report/job_report.h"

namespace drover::cli {

// One process of a job; `moved` has no value where its move could not begin.
struct Row {
  control::ProcessInfo process;
  std::expected<Moved, Error> moved;
  bool named = false;  // by its number; others may come and go
};

// Each returns the exit code.
int ShowOne(const MoveOptions& options, const Row& row);
// `cut_short`: some processes had no turn.
int ShowSeveral(const MoveOptions& options, const std::vector<Row>& rows, bool cut_short);

}  // namespace drover::cli
