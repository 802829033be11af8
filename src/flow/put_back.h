// Putting pages back into the live range.
//
// It always ends with every isolated page of the run in a place: the application may have changed
// the mapping inside the window without any event, so it climbs a ladder.
//   1. UFFDIO_MOVE of the run of target pages
//   2. UFFDIO_MOVE per mapping, as the mappings are now
//   3. page by page, from the original: UFFDIO_COPY, which also fills protected and locked ranges,
//      or UFFDIO_MOVE (the undo), whichever works first
//   4. only where the mapping is gone or a guard stands: nothing to put back
// Each step starts at the first page that the one before did not move. This is the one loop of the
// core without a bound, because giving up would lose a page.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Puts back every isolated page among [first, last). The caller holds the move lock.
void PutBack(Engine& engine, uint64_t first, uint64_t last);

}  // namespace drover::flow
