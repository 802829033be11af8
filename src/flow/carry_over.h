// Carrying a late write over to the live page.
#pragma once

#include "flow/engine.h"
#include "flow/kept.h"

namespace drover::flow {

// `page`'s original has changed since it was copied. In a window of its own the live page takes the
// original's content, if it still holds what was copied; `page.checksum` then follows. Else it is
// put back as it is. Called between two batches.
[[nodiscard]] LateWrite CarryOver(Engine& engine, KeptPage& page, bool huge, Node target);

}  // namespace drover::flow
