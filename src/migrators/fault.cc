#include "migrators/fault.h"

namespace drover::migrators {

Answer FaultMigrator::Submit(std::span<Folio> folios) {
  if (fault_ == Fault::kRefuse || folios.empty()) return Answer::kUnsupported;
  if (!held_.empty()) return Answer::kBusy;
  if (WithholdsAnswer()) {
    held_ = folios;
    due_ns_ = kernel_.NowNs() + kLateNs;
    return Answer::kTaken;
  }
  const Answer answer = over_.Submit(folios);
  if (answer != Answer::kTaken) return answer;
  folios_ = folios;
  ++turn_;
  return answer;
}

// (The engine below is not asked, so that it has nothing that it could still write to.)
bool FaultMigrator::Poll(uint64_t deadline_ns) {
  if (WithholdsAnswer()) {
    do {
      if (IsDue()) WriteLate();
    } while (!held_.empty() && kernel_.NowNs() < deadline_ns);
    return held_.empty();
  }
  if (!over_.Poll(deadline_ns)) return false;
  SpoilOne();
  return true;
}

bool FaultMigrator::HoldsAddresses() {
  if (IsDue()) WriteLate();
  return !held_.empty() || over_.HoldsAddresses();
}

bool FaultMigrator::IsDue() {
  return !held_.empty() && fault_ == Fault::kLate && kernel_.NowNs() >= due_ns_;
}

void FaultMigrator::LetGo() {
  if (!held_.empty()) WriteLate();
}

// Wrong in every byte: wherever this comes to, it is seen.
void FaultMigrator::WriteLate() {
  for (const Folio& folio : held_)
    __builtin_memset(reinterpret_cast<void*>(folio.target), kLateByte, folio.length_bytes);
  held_ = {};
}

// One that the engine below has copied, if there is one.
Folio& FaultMigrator::Choose() {
  for (uint64_t i = 0; i < folios_.size(); ++i)
    if (Folio& folio = folios_[(turn_ + i) % folios_.size()]; folio.copied) return folio;
  return folios_[turn_ % folios_.size()];
}

void FaultMigrator::SpoilOne() {
  Folio& folio = Choose();
  auto* const target = reinterpret_cast<unsigned char*>(folio.target);
  switch (fault_) {
    case Fault::kFail:
      __builtin_memset(target, 0, folio.length_bytes);
      folio.copied = false;
      return;
    case Fault::kFailAll:
      for (Folio& each : folios_) {
        __builtin_memset(reinterpret_cast<void*>(each.target), 0, each.length_bytes);
        each.copied = false;
      }
      return;
    case Fault::kLie:
      __builtin_memset(target, 0, folio.length_bytes);
      return;
    case Fault::kShort:
      __builtin_memset(target + folio.length_bytes / 2, 0, folio.length_bytes / 2);
      return;
    case Fault::kFlip:
      target[turn_ * 4093 % folio.length_bytes] ^= 1;
      return;
    default:
      return;
  }
}

}  // namespace drover::migrators
