// Which copy engines there are, and on which terms they get batches. It outlasts the jobs.
//
// The mover asks it for every batch; any thread may set it meanwhile. Taking an engine out is two
// steps: from Unregister on it gets no batch, and once IsIdle it has none and touches no memory.
// (Each says what it does and then looks at what the other has said, sequentially consistent: so
// one of the two sees it.) That is all that a drain needs here, because one mover alone uses it.
//
// Freestanding.
#pragma once

#include <atomic>

#include "migrators/plugin.h"
#include "migrators/spec.h"

namespace drover::migrators {

// What a copy engine did.
struct EngineTally {
  uint64_t batches = 0;      // parts of batches that it took
  uint64_t refused = 0;      // and that it did not take
  uint64_t failed = 0;       // of those it took: that came back with a folio that was not copied
  uint64_t late = 0;         // of those it took: whose answer did not come in time
  uint64_t pages = 0;        // that it copied, and that were moved
  uint64_t fallen_back = 0;  // pages of what it took that the CPU has copied for it

  EngineTally operator+(const EngineTally& other) const {
    return {batches + other.batches, refused + other.refused, failed + other.failed,
            late + other.late,       pages + other.pages,     fallen_back + other.fallen_back};
  }
  EngineTally operator-(const EngineTally& other) const {
    return {batches - other.batches, refused - other.refused, failed - other.failed,
            late - other.late,       pages - other.pages,     fallen_back - other.fallen_back};
  }
};

// What the user wants of an engine.
struct Terms {
  uint32_t reasons = ~uint32_t{0};  // bit n: batches of flow::Reason n
  uint64_t smallest_bytes = 0;      // of a batch

  bool Allow(uint32_t reason, uint64_t bytes) const {
    return (reasons >> reason & 1) != 0 && bytes >= smallest_bytes;
  }
};

// Below it waking another thread takes longer than copying, and from then on each change of a page
// table interrupts that thread's CPU as well. Unless the user sets something else.
inline constexpr uint64_t kThreadsSmallestBytes = 256u << 10;

class Registry {
 public:
  Registry();  // the built-in ones are registered

  // ---- any thread
  void Set(Kind kind, const Terms& terms);
  Terms TermsOf(Kind kind) const;
  void Register(Kind kind) { At(kind).registered.store(true); }
  void Unregister(Kind kind) { At(kind).registered.store(false); }
  bool IsRegistered(Kind kind) const { return At(kind).registered.load(); }
  // It has no batch, and holds no addresses of an earlier one.
  bool IsIdle(Kind kind) const { return !At(kind).in_use.load(); }
  EngineTally TallyOf(Kind kind) const;

  // ---- the mover between two batches, or whoever keeps jobs from running
  // A place for a plugin, which is registered from then on; kFirstPlugin + kPluginsMax: none left,
  // or there is one of this name.
  Kind Install(const PluginName& name, Plugin& plugin);
  void Remove(Kind kind);                             // it is idle and not registered
  const PluginName* names() const { return names_; }  // kPluginsMax, by place; empty: none there
  // Is each plugin among these the one of that name?
  bool Knows(std::span<const Spec> specs, const PluginName* names) const;
  Plugin* PluginAt(Kind kind) const { return IsPlugin(kind) ? plugins_[PlaceOf(kind)] : nullptr; }
  // A built-in engine, or a plugin that is there.
  bool Has(Kind kind) const { return !IsPlugin(kind) || PluginAt(kind) != nullptr; }
  std::string_view NameAt(Kind kind) const {
    return IsPlugin(kind) ? names_[PlaceOf(kind)].view() : NameOf(kind);
  }
  // kFirstPlugin + kPluginsMax: there is none of this name.
  Kind Find(std::string_view name) const;

  // ---- the mover
  // True: the engine may have this batch; Leave is owed.
  [[nodiscard]] bool Enter(Kind kind, uint32_t reason, uint64_t batch_bytes);
  void Leave(Kind kind) { At(kind).in_use.store(false); }
  // Adds what it did since the last time.
  void Count(Kind kind, const EngineTally& more);

 private:
  struct Entry {
    std::atomic<bool> registered = false, in_use = false;
    std::atomic<uint32_t> reasons = ~uint32_t{0};
    std::atomic<uint64_t> smallest_bytes = 0;
    std::atomic<uint64_t> batches = 0, refused = 0, failed = 0, late = 0, pages = 0,
                          fallen_back = 0;
  };
  Entry& At(Kind kind) { return entries_[static_cast<uint32_t>(kind)]; }
  const Entry& At(Kind kind) const { return entries_[static_cast<uint32_t>(kind)]; }

  Entry entries_[kKindCount];
  PluginName names_[kPluginsMax];
  Plugin* plugins_[kPluginsMax] = {};
};

}  // namespace drover::migrators
