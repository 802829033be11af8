// `fault`: stands over another migrator and spoils its work (spec.h says how), so that it can be
// shown what becomes of a batch then.
#pragma once

#include "kernel/kernel.h"
#include "migrators/migrator.h"
#include "migrators/spec.h"

namespace drover::migrators {

class FaultMigrator final : public Migrator {
 public:
  // How long after its time a late answer comes, and what stands in the memory till then.
  static constexpr uint64_t kLateNs = 300'000'000;
  static constexpr unsigned char kLateByte = 0xa5;

  FaultMigrator(Fault fault, Migrator& over, kernel::Kernel& kernel)
      : fault_(fault), over_(over), kernel_(kernel) {}

  Answer Submit(std::span<Folio> folios) override;
  bool Poll(uint64_t deadline_ns) override;
  bool HoldsAddresses() override;
  // The job ends: whatever it still holds it writes to once more, and lets go.
  void LetGo();

 private:
  bool WithholdsAnswer() const { return fault_ == Fault::kLate || fault_ == Fault::kHang; }
  bool IsDue();
  Folio& Choose();
  void SpoilOne();
  void WriteLate();

  const Fault fault_;
  Migrator& over_;
  kernel::Kernel& kernel_;
  std::span<Folio> held_;  // whose answer is withheld
  uint64_t due_ns_ = 0;
  std::span<Folio> folios_;
  uint64_t turn_ = 0;  // batches so far: which folio is spoilt changes with them
};

}  // namespace drover::migrators
