// The floors that a migration is measured against: what the same bytes cost with no bookkeeping at
// all. No code of the engine is in these loops.
#pragma once

#include <cstddef>
#include <string>

namespace drover::bench {

struct Buffers {
  char* source;  // both aligned to 2 MiB
  char* target;  // may be shorter than the source: then the loops cycle through it
  size_t source_bytes;
  size_t target_bytes;
  bool huge;  // of 2 MiB pages
};

// On which nodes they lie; negative: wherever the kernel puts them.
struct BufferNodes {
  int source = -1, target = -1;
};

// Maps both; the source is filled. `huge`: of 2 MiB pages, else of 4 KiB pages.
Buffers MapBuffers(size_t source_bytes, size_t target_bytes, bool huge,
                   const BufferNodes& nodes = {});
// Behind the first writes: have they come to these nodes? (A node that is full is no reason to end
// anybody: the kernel then takes another one.)
bool LieOn(const Buffers& buffers, const BufferNodes& nodes);
void UnmapBuffers(const Buffers& buffers);

// The fastest of the copy functions known here (memcpy, rep movsb, streaming stores of 32 and 64
// bytes, and the kernel's copy through its own mapping) for pages of one size, found by trying
// each, for the copy floor and for the fresh one: what the floors below take from then on (before:
// memcpy). Their names for the report. Takes a second or two.
std::string FindFastestCopy(bool huge);

// Seconds for copying the source into the prefaulted target, by `threads` threads.
double CopyFloor(const Buffers& buffers, int threads);
// Seconds for fault-in of the target, copy, and freeing of the source, in steps of 2 MiB.
double FreshFloor(const Buffers& buffers, int threads);

// The plainest form of the fresh floor, one loop as one would write it down, to check that the one
// above is not slow; on the calling thread, as that is with one. Needs AVX-512; a negative number
// where the CPU has none.
double PlainFreshFloor(const Buffers& buffers);

}  // namespace drover::bench
