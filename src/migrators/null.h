// `null`: marks every folio and copies none, for benchmarks of all that is not copying. A job takes
// it only where each copy is compared and mended, or where the memory is the benchmark's own.
#pragma once

#include "migrators/migrator.h"

namespace drover::migrators {

class Null final : public Migrator {
 public:
  Answer Submit(std::span<Folio> folios) override {
    if (at_work_) return Answer::kBusy;
    if (folios.empty()) return Answer::kTooSmall;
    for (Folio& folio : folios) folio.copied = true;
    at_work_ = true;
    return Answer::kTaken;
  }
  bool Poll(uint64_t) override {
    at_work_ = false;
    return true;
  }

 private:
  bool at_work_ = false;
};

}  // namespace drover::migrators
