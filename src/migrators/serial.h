// `serial`: one folio after another on the mover's thread, as the kernel's migrate_pages() does.
// The baseline that every other migrator is compared with.
#pragma once

#include "migrators/migrator.h"

namespace drover::migrators {

class Serial final : public Migrator {
 public:
  explicit Serial(CopyFunctions copy) : copy_(copy) {}

  Answer Submit(std::span<Folio> folios) override {
    if (!folios_.empty()) return Answer::kBusy;
    if (folios.empty()) return Answer::kTooSmall;
    folios_ = folios;
    return Answer::kTaken;
  }
  bool Poll(uint64_t) override {
    CopyInRuns(folios_, copy_.For(folios_));
    folios_ = {};
    return true;
  }

 private:
  CopyFunctions copy_;
  std::span<Folio> folios_;
};

}  // namespace drover::migrators
