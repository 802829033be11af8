#include "migrators/registry.h"

namespace drover::migrators {

Registry::Registry() {
  for (uint32_t i = 0; i < kBuiltInCount; ++i) entries_[i].registered.store(true);
  At(Kind::kThreads).smallest_bytes.store(kThreadsSmallestBytes);
}

void Registry::Set(Kind kind, const Terms& terms) {
  At(kind).reasons.store(terms.reasons, std::memory_order_relaxed);
  At(kind).smallest_bytes.store(terms.smallest_bytes, std::memory_order_relaxed);
}

Terms Registry::TermsOf(Kind kind) const {
  return {At(kind).reasons.load(std::memory_order_relaxed),
          At(kind).smallest_bytes.load(std::memory_order_relaxed)};
}

EngineTally Registry::TallyOf(Kind kind) const {
  const Entry& entry = At(kind);
  const auto read = [](const std::atomic<uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  return {read(entry.batches), read(entry.refused), read(entry.failed),
          read(entry.late),    read(entry.pages),   read(entry.fallen_back)};
}

void Registry::Count(Kind kind, const EngineTally& more) {
  Entry& entry = At(kind);
  const auto add = [](std::atomic<uint64_t>& count, uint64_t n) {
    count.fetch_add(n, std::memory_order_relaxed);
  };
  add(entry.batches, more.batches);
  add(entry.refused, more.refused);
  add(entry.failed, more.failed);
  add(entry.late, more.late);
  add(entry.pages, more.pages);
  add(entry.fallen_back, more.fallen_back);
}

Kind Registry::Install(const PluginName& name, Plugin& plugin) {
  uint32_t place = kPluginsMax;
  for (uint32_t i = kPluginsMax; i-- > 0;) {
    if (names_[i] == name) return PluginKind(kPluginsMax);
    if (plugins_[i] == nullptr) place = i;
  }
  const Kind kind = PluginKind(place);
  if (place == kPluginsMax) return kind;
  names_[place] = name;
  plugins_[place] = &plugin;
  Set(kind, {});
  Register(kind);
  return kind;
}

void Registry::Remove(Kind kind) {
  const uint32_t place = PlaceOf(kind);
  plugins_[place] = nullptr;
  names_[place] = {};
  Entry& entry = At(kind);
  for (std::atomic<uint64_t>* count : {&entry.batches, &entry.refused, &entry.failed, &entry.late,
                                       &entry.pages, &entry.fallen_back})
    count->store(0, std::memory_order_relaxed);
}

Kind Registry::Find(std::string_view name) const {
  for (uint32_t i = 0; i < kKindCount; ++i)
    if (const auto kind = static_cast<Kind>(i); Has(kind) && NameAt(kind) == name) return kind;
  return PluginKind(kPluginsMax);
}

bool Registry::Knows(std::span<const Spec> specs, const PluginName* names) const {
  for (const Spec& spec : specs) {
    if (!IsPlugin(spec.kind)) continue;
    const uint32_t place = PlaceOf(spec.kind);
    if (plugins_[place] == nullptr || !(names_[place] == names[place])) return false;
  }
  return true;
}

bool Registry::Enter(Kind kind, uint32_t reason, uint64_t batch_bytes) {
  Entry& entry = At(kind);
  entry.in_use.store(true);
  if (entry.registered.load() && TermsOf(kind).Allow(reason, batch_bytes) && Has(kind)) return true;
  entry.in_use.store(false);
  return false;
}

}  // namespace drover::migrators
