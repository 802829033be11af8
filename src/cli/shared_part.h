// The second half of `drover move --shared`. The first one has moved what the process's agent can;
// this one asks for all its memory once more, files and shared memory included, and moves what is
// not there yet by move_pages(2) for all who map it (MPOL_MF_MOVE_ALL). From here, because that
// takes a right which an agent has seldom.
#pragma once

#include <expected>
#include <functional>

#include "control/agents.h"
#include "control/client.h"
#include "drover/engine.h"
#include "flow/job.h"

namespace drover::cli {

// May this user, and can it be done in two halves?
[[nodiscard]] std::expected<void, Error> CheckShared(const flow::Placement& placement);

// `job` and `first`: the first half and its result. `records`: what became of each page in it; in
// the end of both. Returns both together.
[[nodiscard]] std::expected<flow::JobResult, Error> MoveShared(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& first,
    int records, control::Steering& steering,
    const std::function<void(const control::Progress&)>& progress);

}  // namespace drover::cli
