// bench carry: what a program pays for having an idle agent in it, side by side with the same
// program without one.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "drover/engine.h"

namespace drover::bench {

struct CarryRow {
  std::string what;
  std::string unit;
  double without = 0, with = 0;                    // medians
  double ratio = 0, ratio_min = 0, ratio_max = 0;  // with / without, taken per round
  double added = 0;                                // median of (with - without)
};

// Runs `program` (this drover) with the argument list `inner` plain and under `program run --`,
// alternating. The inner program prints what MeasureInside returns.
[[nodiscard]] std::expected<std::vector<CarryRow>, Error> RunCarry(
    const std::string& program, const std::vector<std::string>& inner, int rounds);

// One line of numbers: nanoseconds of a shared_ptr copy, of malloc and free, of getc, and
// microseconds of one fork + exec + wait of /bin/true.
std::string MeasureInside();

}  // namespace drover::bench
