// A Redis with clients, as one of bench app's programs.
#pragma once

#include <string>

#include "app.h"
#include "app_moves.h"

namespace drover::bench {

// What a program has seen in one measurement; and what was moved meanwhile.
struct AppSeen {
  double per_s = 0, p50_us = 0, p99_us = 0, p999_us = 0;
};
struct AppMoved {
  double gb = 0;
  std::string how, error;
};

// How long a program may take to end.
inline demo::Seconds LimitOf(const AppOptions& options) {
  return demo::Seconds(2 * options.seconds + 60);
}

// What is not installed, in words; empty: nothing.
std::string LacksForRedis();
// GETs, or SETs, by redis-benchmark of values that fill total_bytes. Throws demo::Failure.
AppSeen MeasureRedis(const AppOptions& options, bool sets, const AppSide& side, AppMoved* moved);

}  // namespace drover::bench
