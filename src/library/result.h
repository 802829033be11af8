// From the flow's plain result to the public one.
#pragma once

#include "drover/engine.h"
#include "flow/job.h"

namespace drover::library {

MoveResult ResultOf(const flow::JobResult& job, const flow::Job& asked);

// How long mode sync goes on trying.
[[nodiscard]] std::expected<void, Error> SetRetryFor(double seconds, flow::Job* job);
[[nodiscard]] std::expected<void, Error> CheckBatch(uint64_t batch_bytes);
// 0: none.
[[nodiscard]] std::expected<void, Error> SetMaxStall(double us, flow::Job* job);

}  // namespace drover::library
