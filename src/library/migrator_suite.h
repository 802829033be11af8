// What every migrator has to do, as tests: one suite for all of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "migrators/migrator.h"

namespace drover::library {

// One requirement, and how it went.
struct Verdict {
  std::string name;
  bool passed = false;
  std::string note;  // what was wrong; or on how much it was tried
};

struct SuiteOptions {
  uint64_t folios_max = 8192;  // of one batch
  bool copies = true;  // else it marks what it has not copied (`null`), and only the rest counts
};

// Runs all of it on memory of its own, up to 128 MiB. What the engine does not support is counted
// in the note. The calling thread is the mover.
std::vector<Verdict> TestMigrator(migrators::Migrator& migrator, const SuiteOptions& options);

}  // namespace drover::library
