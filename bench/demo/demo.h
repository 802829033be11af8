// The demo from beginning to end: a Redis under load is moved, and nothing is lost.
#pragma once

#include <cstdint>
#include <string>

#include "report.h"

namespace drover::demo {

struct Options {
  int rounds = 3;
  uint64_t mib = 1024;
  double duration_s = 4;  // of measuring, before the moves and after them
  uint64_t seed = 0;
  std::string migrator = "serial";  // as for drover move
};

struct Programs {
  std::string drover, redis_server, redis_benchmark;
};

// Throws when one is missing.
Programs FindPrograms();
// Throws when the machine or the user cannot do it.
void CheckMachine(const Options& options);
Outcome RunDemo(const Options& options, const Programs& programs);

}  // namespace drover::demo
