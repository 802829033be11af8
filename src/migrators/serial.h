// `serial`: one folio after another on the calling thread, as the kernel's migrate_pages() does.
// The baseline that every other migrator is compared with.
#pragma once

#include "migrators/migrator.h"

namespace drover::migrators {

class Serial final : public Migrator {
 public:
  explicit Serial(CopyFunction copy) : copy_(copy) {}

  Answer Submit(std::span<Folio> folios) override {
    for (Folio& folio : folios) {
      copy_(folio.target, folio.source, folio.length_bytes);
      folio.copied = true;
    }
    return Answer::kTaken;
  }
  bool Poll(uint64_t) override { return true; }

 private:
  CopyFunction copy_;
};

}  // namespace drover::migrators
