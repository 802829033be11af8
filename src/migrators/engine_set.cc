#include "migrators/engine_set.h"

namespace drover::migrators {

Migrator* EngineSet::Get(Kind kind) {
  if (IsPlugin(kind)) return nullptr;
  switch (kind) {
    case Kind::kThreads:
      return &threads_;
    case Kind::kChannels:
      return &channels_;
    case Kind::kNull:
      return &null_;
    default:
      return &serial_;
  }
}

uint32_t EngineSet::Start(std::span<const Spec> specs, std::span<const int16_t> cpus,
                          Errands* errands) {
  uint32_t started = 0;
  size_ = 0;
  for (const Spec& spec : specs) {
    if (size_ == kEnginesPerJobMax) break;
    const Kind kind = CopierOf(spec);
    const uint32_t wanted = HelpersOf(spec);
    const auto mine = cpus.first(wanted < cpus.size() ? wanted : cpus.size());
    cpus = cpus.subspan(mine.size());
    if (kind == Kind::kThreads) started += threads_.Start(mine, errands);
    if (kind == Kind::kChannels) started += channels_.Start(spec.count, mine);
    if (spec.kind == Kind::kFault)
      fault_.emplace(spec.fault, kind == Kind::kSerial ? serial_of_fault_ : *Get(kind), kernel_);
    engines_[size_++] = spec.kind == Kind::kFault ? &*fault_ : Get(spec.kind);
  }
  return started;
}

void EngineSet::Stop() {
  threads_.Stop();
  channels_.Stop();
}

void EngineSet::LetGo() {
  if (fault_.has_value()) fault_->LetGo();
}

}  // namespace drover::migrators
