// drover exchange: which node each side's pages come to.
#pragma once

#include <expected>

#include "cli/move_options.h"

namespace drover::cli {

// Reads --range and --with, and looks where most of their pages are. `pid` 0: there is no process
// to look at, and only the words are checked.
[[nodiscard]] std::expected<void, Error> PlaceExchange(const MoveOptions& options, int pid,
                                                       const topology::Nodes& nodes,
                                                       flow::Job* job);

}  // namespace drover::cli
