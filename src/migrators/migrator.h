// A migrator: a copy engine. It gets a part of a batch, a list of folios of one size, copies them,
// and marks those it has copied. What it leaves unmarked the caller copies by the CPU.
//
// No call blocks: Submit refuses instead of queueing, and Poll returns at its deadline. So several
// engines work on one batch. All is called on the mover thread; freestanding.
#pragma once

#include <cstdint>
#include <span>

#include "kernel/types.h"

namespace drover::migrators {

struct Folio {
  uint64_t source = 0;  // addresses, 4 KiB aligned
  uint64_t target = 0;
  uint64_t length_bytes = 0;  // 4 KiB or 2 MiB
  bool copied = false;
  bool absent = false;  // the target is not there yet: whoever copies makes it, by a Filler
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

// Makes target pages that are not there yet, with the sources' content, which costs less than to
// have them made, zeroed, and copied to.
class Filler {
 public:
  // False: not all of it; to ask again does no harm. Any thread.
  [[nodiscard]] virtual bool Fill(uint64_t target, uint64_t source, uint64_t length_bytes) = 0;

 protected:
  ~Filler() = default;
};

// How a batch is copied by the CPU.
struct CopyCall {
  CopyFunction copy = nullptr;
  Filler* filler = nullptr;  // in its place

  bool operator()(uint64_t target, uint64_t source, uint64_t length_bytes) const {
    if (filler != nullptr) return filler->Fill(target, source, length_bytes);
    copy(target, source, length_bytes);
    return true;
  }
};

// By which function the CPU copies what is so large in all: a batch, or an engine's part of it.
struct CopyFunctions {
  CopyFunction small, large;
  uint64_t large_from_bytes = 0;
  // For small folios whose pages no CPU has touched by these addresses; nullptr: as all others. It
  // pins pages while it copies them (copy_by_kernel.h).
  CopyFunction untouched = nullptr;
  Filler* filler = nullptr;  // for targets that are absent; without it none are

  // (Implicit: one for all sizes is what most have.)
  CopyFunctions(CopyFunction all) : small(all), large(all) {}
  CopyFunction For(uint64_t bytes) const { return bytes < large_from_bytes ? small : large; }
  inline CopyCall For(std::span<const Folio> folios) const;
  // Does the kernel copy, under locks, and with pages pinned?
  bool IsByKernel(const CopyCall& call) const {
    return call.filler != nullptr || (untouched != nullptr && call.copy == untouched);
  }
  bool MayBeByKernel() const { return filler != nullptr || untouched != nullptr; }
};

// Folios of one engine at one time are of one size.
inline uint64_t BytesOf(std::span<const Folio> folios) {
  return folios.empty() ? 0 : folios.size() * folios[0].length_bytes;
}

inline CopyCall CopyFunctions::For(std::span<const Folio> folios) const {
  if (!folios.empty() && folios[0].absent) return {nullptr, filler};
  if (untouched != nullptr && !folios.empty() && folios[0].length_bytes == kPageBytes)
    return {untouched};
  return {For(BytesOf(folios))};
}

// Copies each run of folios that lie side by side on both ends by one call, and marks what was
// copied.
inline void CopyInRuns(std::span<Folio> folios, const CopyCall& copy) {
  for (uint64_t i = 0; i < folios.size();) {
    const uint64_t first = i;
    const Folio& folio = folios[first];
    uint64_t bytes = folio.length_bytes;
    for (++i; i < folios.size() && folios[i].source == folio.source + bytes &&
              folios[i].target == folio.target + bytes;
         ++i)
      bytes += folios[i].length_bytes;
    const bool copied = copy(folio.target, folio.source, bytes);
    for (uint64_t k = first; k < i; ++k) folios[k].copied = copied;
  }
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
