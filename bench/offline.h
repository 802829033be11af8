// The kernel moving this process's pages where there is one node: a memory block of which all pages
// are this process's is taken offline, and put online again. Changes the machine for a moment.
#pragma once

#include <expected>
#include <map>

#include "drover/engine.h"
#include "floor.h"
#include "migrate_trace.h"
#include "restorer.h"

namespace drover::bench {

// Bytes of a memory block (/sys/devices/system/memory); 0: this kernel cannot take any offline.
size_t MemoryBlockBytes();

// How many pages of the source are in which block, by /proc/self/pagemap. Empty: no right to see.
std::map<uint64_t, uint64_t> PagesByBlock(const Buffers& memory, size_t block_bytes);

// pgmigrate_success: by the kernel since it booted.
uint64_t PagesMigrated();

struct Offlined {
  uint64_t block = 0;
  uint64_t pages = 0;   // that the kernel has migrated (pgmigrate_success)
  double wall_s = 0;    // of the write to the block's state
  double inside_s = 0;  // of it inside migrate_pages()
};

// The block of which most is the source's, if that is nearly all. It is online again when this
// returns. kUnavailable: there is none that can be taken.
[[nodiscard]] std::expected<Offlined, Error> OfflineOne(const Buffers& memory, Restorer& restorer,
                                                        const MigrateTrace& trace);

}  // namespace drover::bench
