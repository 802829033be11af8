// drover tune: measures once what `auto` decides from.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "drover/engine.h"
#include "floor.h"
#include "library/profile.h"

namespace drover::bench {

struct TuneOptions {
  int rounds = 7;
  std::vector<std::pair<int, int>> pairs;  // source and target node; none: all there are
  size_t buffer_bytes = 256u << 20;        // sources and targets, each
  size_t largest_bytes = 16u << 20;        // of the batches that are tried
};

// One copy function.
struct WayRow {
  migrators::CopyWay way = migrators::CopyWay::kCount;
  double gb_per_s = 0, gb_per_s_min = 0, gb_per_s_max = 0;  // over one contiguous buffer
  double pages_gb_per_s = 0;                                // in pieces of 4 KiB
};

// Each copy function that this machine can use, in rounds that alternate over the same memory.
std::vector<WayRow> MeasureCopyWays(const Buffers& buffers, int rounds);

// Which of them to use: for what is large the fastest over one buffer (where several are as good,
// the best by pages); for less, the fastest with ordinary stores, where clearing the target and
// copying are faster with it: it lies in the cache as long as it fits. Fills
// the sizes of pair->batches in, from 4 KiB up to `largest_bytes`.
void ChooseCopyWays(const std::vector<WayRow>& rows, const Buffers& buffers,
                    const TuneOptions& options, library::Profile::Pair* pair);

struct TuneReport {
  std::vector<std::vector<WayRow>> ways;  // by pair
  library::Profile profile;
};

// `progress` gets a line for each step.
[[nodiscard]] std::expected<TuneReport, Error> RunTune(
    const TuneOptions& options, const std::function<void(const std::string&)>& progress);

}  // namespace drover::bench
