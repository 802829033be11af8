// The table of migrations, for drover bench migrate and what else measures them.
#pragma once

#include <expected>

#include "cli/bench.h"
#include "migrate.h"

namespace drover::cli {

nlohmann::json RowToJson(const bench::MigrateRow& row, double max_stall_us);
// Runs them, says its steps, and makes rows, columns and what was left out; the rest is the
// caller's.
[[nodiscard]] std::expected<report::Table, Error> MeasureMigrations(bench::MigrateOptions options);

// --from, --to: where source and target lie.
void AddBufferNodes(CLI::App& command, bench::BufferNodes& nodes);

}  // namespace drover::cli
