// A job that goes on in the background.
#pragma once

#include <functional>

#include "control/steering.h"
#include "jobs/desk.h"

namespace drover::cli {

// Runs `work` in a process of its own, which outlives this shell: what it prints is kept, as its
// exit code is, until `drover jobs JOB` asks for it, or for an hour. Says the job's number and
// returns drover's exit code for that. Before the first thread is made.
int RunDetached(bool json, control::Steering& steering,
                const std::function<int(jobs::Desk& desk)>& work);

}  // namespace drover::cli
