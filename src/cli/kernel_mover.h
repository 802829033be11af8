// A move of a process without an agent, from outside, by the kernel path alone.
#pragma once

#include <expected>
#include <functional>

#include "control/agents.h"
#include "control/steering.h"
#include "drover/engine.h"

namespace drover::cli {

[[nodiscard]] std::expected<flow::JobResult, Error> MoveFromOutside(
    const control::ProcessInfo& process, const flow::Job& job, const flow::JobResult& preset,
    int records, control::Steering& steering,
    const std::function<void(const control::Progress&)>& progress);

}  // namespace drover::cli
