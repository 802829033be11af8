// A migrator: a copy engine. It gets a part of a batch, a list of folios of one size, copies them,
// and marks those it has copied. What it leaves unmarked the caller copies by the CPU.
//
// No call blocks: Submit refuses instead of queueing, and Poll returns at its deadline. So several
// engines work on one batch. All is called on the mover thread; freestanding.
#pragma once

#include <cstdint>
#include <span>

namespace drover::migrators {

struct Folio {
  uint64_t source = 0;  // addresses, 4 KiB aligned
  uint64_t target = 0;
  uint64_t length_bytes = 0;  // 4 KiB or 2 MiB
  bool copied = false;
};

// No engine is offered more at once.
inline constexpr uint32_t kFoliosMax = 8192;

enum class Answer : uint8_t {
  kTaken,
  kBusy,         // it is at work on an earlier one
  kTooSmall,     // not worth its set-up
  kUnsupported,  // it cannot do such a one
};

// Copies `length_bytes` (a multiple of 4 KiB), source and target 4 KiB aligned and disjoint. All
// stores have been made when it returns (a store fence follows non-temporal ones).
using CopyFunction = void (*)(uint64_t target, uint64_t source, uint64_t length_bytes);

// By which function the CPU copies what is so large in all: a batch, or an engine's part of it.
struct CopyFunctions {
  CopyFunction small, large;
  uint64_t large_from_bytes = 0;

  // (Implicit: one for all sizes is what most have.)
  CopyFunctions(CopyFunction all) : small(all), large(all) {}
  CopyFunction For(uint64_t bytes) const { return bytes < large_from_bytes ? small : large; }
};

// Folios of one engine at one time are of one size.
inline uint64_t BytesOf(std::span<const Folio> folios) {
  return folios.empty() ? 0 : folios.size() * folios[0].length_bytes;
}

class Migrator {
 public:
  // kTaken: Poll must be called until it answers true. Till then the folios, which stay where they
  // are, and the memory that they name belong to the migrator, and it takes no others.
  [[nodiscard]] virtual Answer Submit(std::span<Folio> folios) = 0;
  // True: done, the marks are final. Works on the calling thread where that is the migrator's way,
  // else waits, at most until `deadline_ns` (CLOCK_MONOTONIC).
  [[nodiscard]] virtual bool Poll(uint64_t deadline_ns) = 0;
  // True: somebody may still read sources of an earlier batch and write to its targets, by these
  // addresses. They must not be used for another one before this is false; the content does not
  // matter any more.
  [[nodiscard]] virtual bool HoldsAddresses() { return false; }
  // The list of folios goes, although Poll has not answered true; the memory that it named stays.
  // For engines that outlast a job.
  virtual void ForgetList() {}

 protected:
  ~Migrator() = default;
};

}  // namespace drover::migrators
