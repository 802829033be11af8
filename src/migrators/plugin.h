// A copy engine from a shared object (drover/migrator.h), as the core sees it.
//
// Submit, Poll and HoldsAddresses on the mover thread. Freestanding; what it calls is so only where
// the plugin says so.
#pragma once

#include "drover/migrator.h"
#include "migrators/migrator.h"

namespace drover::migrators {

// Large: it stands in memory that is never moved. The list that the plugin gets is its own, so that
// a late plugin finds it as long as it lives.
class Plugin final : public Migrator {
 public:
  // The engine is open; who made it closes it, after this one was dropped.
  Plugin(const drover_migrator& calls, drover_engine* engine) : calls_(calls), engine_(engine) {}

  Answer Submit(std::span<Folio> folios) override;
  bool Poll(uint64_t deadline_ns) override;
  bool HoldsAddresses() override {
    return calls_.holds_addresses != nullptr && calls_.holds_addresses(engine_) != 0;
  }
  void ForgetList() override { folios_ = {}; }
  drover_migrator_report Report() const;  // any thread
  uint64_t flags() const { return calls_.flags; }

 private:
  bool CanCopy(std::span<Folio> folios) const;

  const drover_migrator& calls_;
  drover_engine* const engine_;
  bool has_list_ = false;    // till it has answered
  std::span<Folio> folios_;  // whose marks are awaited
  drover_folio list_[kFoliosMax] = {};
};

}  // namespace drover::migrators
