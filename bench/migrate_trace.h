// The time that the kernel spends inside migrate_pages(), by its tracepoints
// migrate:mm_migrate_pages_start and mm_migrate_pages (Linux 5.16), in a trace instance of its own.
// Of the calling thread. Needs root and tracefs.
#pragma once

#include <expected>
#include <string>

#include "drover/engine.h"
#include "restorer.h"

namespace drover::bench {

class MigrateTrace {
 public:
  [[nodiscard]] static std::expected<MigrateTrace, Error> Open(Restorer& restorer);

  // From here on is counted.
  [[nodiscard]] bool Begin() const;
  // Seconds inside since Begin; negative: the trace does not say.
  double EndSeconds() const;

 private:
  explicit MigrateTrace(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
};

}  // namespace drover::bench
