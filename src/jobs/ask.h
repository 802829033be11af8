// Asking after running moves, from another shell.
#pragma once

#include <expected>
#include <vector>

#include "drover/engine.h"
#include "jobs/status.h"

namespace drover::jobs {

// Those of this user; root sees all. In this network namespace.
std::vector<Status> List();

// `request` is one of wire.h's; the answer tells how the job stands then. An error of kTargetGone:
// there is no such job (any more); of kFailed: it does not answer.
[[nodiscard]] std::expected<Status, Error> Ask(int job, const char* request);

// Asks it to stop at the next batch boundary, and waits until it has.
[[nodiscard]] std::expected<Status, Error> Stop(int job);

// What an ended job has said; it goes with that.
[[nodiscard]] std::expected<Report, Error> FetchReport(int job);

}  // namespace drover::jobs
