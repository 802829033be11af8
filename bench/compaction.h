// The kernel moving pages to gather free memory: /proc/sys/vm/compact_memory. It moves small pages
// of everybody's, from one end of memory to the other; a program's data stay what they are.
#pragma once

#include <expected>

#include "drover/engine.h"
#include "floor.h"
#include "offline.h"

namespace drover::bench {

// Half of the source's small pages are thrown away before, so that there is something to gather,
// and are there again when this returns. kUnavailable: the kernel moved too little for a figure.
[[nodiscard]] std::expected<Offlined, Error> CompactOnce(const Buffers& memory,
                                                         const MigrateTrace& trace);

}  // namespace drover::bench
