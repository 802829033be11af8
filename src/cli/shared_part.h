// The second half of `drover move --shared`: what the process does not have alone. It goes by
// move_pages(2) for all who map it (MPOL_MF_MOVE_ALL), from here, because that takes a right which
// an agent has seldom.
#pragma once

#include <atomic>
#include <expected>
#include <functional>

#include "control/agents.h"
#include "control/client.h"
#include "drover/engine.h"
#include "flow/job.h"

namespace drover::cli {

// May this user, and can the kernel path do what is asked?
[[nodiscard]] std::expected<void, Error> CheckShared(const flow::Placement& placement);

// `job` as for the first half, whose result is `first`; returns both together.
[[nodiscard]] std::expected<flow::JobResult, Error> MoveShared(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& first,
    int records, const std::atomic<bool>& cancel,
    const std::function<void(const control::Progress&)>& progress);

}  // namespace drover::cli
