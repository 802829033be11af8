// From the flow's plain result to the public one.
#pragma once

#include "drover/engine.h"
#include "flow/job.h"

namespace drover::library {

// `verify`: it was asked for.
MoveResult ResultOf(const flow::JobResult& job, bool verify);

// Fills engine and thread count from a migrator's name ("serial", "threads:N").
[[nodiscard]] std::expected<void, Error> ParseMigrator(const std::string& name, flow::Job* job);
// How long mode sync goes on trying.
[[nodiscard]] std::expected<void, Error> SetRetryFor(double seconds, flow::Job* job);
[[nodiscard]] std::expected<void, Error> CheckBatch(uint64_t batch_bytes);

}  // namespace drover::library
