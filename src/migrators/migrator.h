// A migrator: a copy engine. It gets a batch of folios, copies them, and marks those it copied. The
// folios of a batch have one size. What it leaves unmarked the caller copies by the CPU.
//
// No call blocks for longer than the copying itself takes: Submit refuses instead of queueing.
// All is called from the mover thread; freestanding.
#pragma once

#include <cstdint>
#include <span>

namespace drover::migrators {

struct Folio {
  uint64_t source = 0;  // addresses
  uint64_t target = 0;
  uint64_t length_bytes = 0;
  bool copied = false;
};

enum class Answer : uint8_t { kTaken, kBusy, kTooSmall, kUnsupported };

// Copies `length_bytes` (a multiple of 4 KiB), source and target 4 KiB aligned and disjoint. All
// stores have been made when it returns (a store fence follows non-temporal ones).
using CopyFunction = void (*)(uint64_t target, uint64_t source, uint64_t length_bytes);

class Migrator {
 public:
  // kTaken: Poll must be called until it answers true; the folios belong to the migrator till then.
  [[nodiscard]] virtual Answer Submit(std::span<Folio> folios) = 0;
  // True: done, the marks are final. Waits at most until `deadline_ns` (CLOCK_MONOTONIC).
  [[nodiscard]] virtual bool Poll(uint64_t deadline_ns) = 0;
  // True: somebody may still read sources of an earlier batch and write to its targets, by these
  // addresses. They must not be used for another one before this is false; the content does not
  // matter any more.
  virtual bool HoldsAddresses() const { return false; }

 protected:
  ~Migrator() = default;
};

}  // namespace drover::migrators
