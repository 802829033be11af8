// Words on the command line: sizes, ranges, nodes.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "flow/job.h"
#include "topology/nodes.h"

namespace drover::cli {

// "64k", "2m", "1g": powers of 1024. A plain number is in units of `plain_unit_bytes`.
[[nodiscard]] std::expected<uint64_t, Error> ParseSize(const std::string& text,
                                                       uint64_t plain_unit_bytes = 1);

// --total of a benchmark: a size of whole huge pages.
[[nodiscard]] std::expected<uint64_t, Error> ParseTotal(const std::string& text);

// "200us", "2ms", "1.5s"; "none" is 0. In microseconds.
[[nodiscard]] std::expected<double, Error> ParseStall(const std::string& text);

// "500M/s", "64k/s"; "none" is 0. In bytes a second.
[[nodiscard]] std::expected<uint64_t, Error> ParseRate(const std::string& text);

// "50%", from 1 to 100; "none" is 0.
[[nodiscard]] std::expected<uint64_t, Error> ParsePercent(const std::string& text);

// "500ms", "90s", "10m", "2h"; "none" is 0. In seconds.
[[nodiscard]] std::expected<double, Error> ParseDuration(const std::string& text);

// "start-end" or "start+size", hexadecimal with 0x or decimal; several separated by commas. Sorted;
// refuses empty ones, overlaps and what is off page boundaries.
[[nodiscard]] std::expected<std::vector<Range>, Error> ParseRanges(const std::string& text);

// numactl's grammar: "0,2-3", "all", "!1" (all but). Each must exist; `need_memory`: and have some.
[[nodiscard]] std::expected<std::vector<int>, Error> ParseNodes(const std::string& text,
                                                                const topology::Nodes& nodes,
                                                                bool need_memory);

// --to and --from together: "same", position by position where both name equally many, else in
// proportion to free memory.
[[nodiscard]] std::expected<flow::Placement, Error> PlacementOf(const std::string& to,
                                                                const std::string& from,
                                                                const topology::Nodes& nodes);

// "1.5 GiB"
std::string HumanBytes(uint64_t bytes);

}  // namespace drover::cli
