// Copy functions for whole pages, and the choice among them. Freestanding.
#pragma once

#include "migrators/migrator.h"

namespace drover::migrators {

// The widest non-temporal copy that this CPU and this kernel (XCR0) support. Copied pages are not
// read again soon by the copier, so they need not displace the application's cache lines.
[[nodiscard]] CopyFunction FastestCopyFunction();

void CopyStreaming128(uint64_t target, uint64_t source, uint64_t length_bytes);
void CopyStreaming256(uint64_t target, uint64_t source, uint64_t length_bytes);
void CopyStreaming512(uint64_t target, uint64_t source, uint64_t length_bytes);

}  // namespace drover::migrators
