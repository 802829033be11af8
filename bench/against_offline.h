// drover beside the kernel's offlining, and its compaction: as many bytes, in one run, alternating.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "measure.h"
#include "report/table.h"

namespace drover::bench {

struct AgainstOfflineOptions {
  std::vector<std::string> pages = {"4K", "2M"};
  // "memory offlining"; "compaction", which moves small pages alone.
  std::vector<std::string> hows = {"memory offlining", "compaction"};
  std::vector<int> threads = {1, 2};     // drover's; the kernel has one
  size_t total_bytes = size_t{6} << 30;  // of which a memory block's share is moved in each round
  size_t batch_bytes = 2u << 20;
  int rounds = 7;
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

struct AgainstOfflineRow {
  std::string page, how;
  int threads = 0, rounds = 0;
  size_t total_bytes = 0;  // moved in a round
  Spread gb_per_s, kernel_gb_per_s, kernel_inside_gb_per_s;
  Spread ratio, ratio_inside;  // the kernel's time / drover's, per round
};

struct AgainstOfflineReport {
  std::vector<AgainstOfflineRow> rows;
  std::vector<report::Skipped> skipped;
};

// Takes memory blocks offline, and puts them online again, also when it is interrupted.
[[nodiscard]] std::expected<AgainstOfflineReport, Error> RunAgainstOffline(
    const AgainstOfflineOptions& options);

}  // namespace drover::bench
