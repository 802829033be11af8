// bench copy: how fast each copy engine copies by itself, without a migration around it.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "floor.h"
#include "migrators/copy_function.h"
#include "report/table.h"

namespace drover::bench {

struct CopyOptions {
  std::vector<std::string> migrators = {"serial", "threads:1", "threads:2", "channels:2"};
  std::vector<std::string> pages = {"4K", "2M"};
  std::vector<size_t> batches = {1, 64, 512};  // folios
  int rounds = 7;
  BufferNodes nodes = {};
  std::optional<migrators::CopyWays> copy_ways = {};  // none: what the profile says
  size_t buffer_bytes = 256u << 20;  // sources and targets, each: far beyond any cache
};

struct CopyRow {
  std::string migrator, page;
  size_t batch = 0;  // folios
  unsigned threads = 1;
  int rounds = 0;
  double gb_per_s = 0, gb_per_s_min = 0, gb_per_s_max = 0;
  double cpu_s_per_gb = 0;  // of all threads, median
  // How much slower a pass over 1 MiB that was in the caller's caches is, behind the copy of a
  // batch.
  double cache_slowdown = 0;
  double copied_share = 0;  // of the folios; what an engine left is copied by the caller's CPU
  bool hardware = false;
};

struct CopyReport {
  std::vector<CopyRow> rows;
  std::vector<report::Skipped> skipped;
};

// Both of `bytes`, written to, on these nodes. UnmapBuffers gives them back.
[[nodiscard]] std::expected<Buffers, Error> FilledBuffers(size_t bytes, bool huge,
                                                          const BufferNodes& nodes);

// Every row of the same page and batch copies the same bytes, in rounds that alternate between the
// engines; what was copied is compared at the end of each row.
[[nodiscard]] std::expected<CopyReport, Error> RunCopy(const CopyOptions& options);

}  // namespace drover::bench
