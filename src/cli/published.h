// Figures that others have published of the kernel's own migration, to stand beside drover's in the
// layout of their tables.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

namespace drover::cli {

// Rows with "side": "published", "series", "engine" ("baseline", "4 channels"), "gb_per_s",
// "gb_per_s_sd" where it is given, and "source".
//
// "Accelerate page migration with batch copying and hardware offload", RFC v4 (March 2026), on two
// EPYC Zen 3 of 32 cores, PTDMA, move_pages(2) between two nodes. Table 1: 1 GB by "page" (folio
// size) and channels. Table 2: "folios" of 2 MiB in all, one channel.
std::vector<nlohmann::json> RfcFolioSizes();
std::vector<nlohmann::json> RfcTotals();
// "Accelerate page migration with batching and multi threads", RFC (January 2025), on two NVIDIA
// Grace, base pages of 64 KiB, move_pages(2): "page" of 64K and 2M, "folios", "threads".
std::vector<nlohmann::json> MultiThreaded();

}  // namespace drover::cli
