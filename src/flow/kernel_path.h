// The kernel path: move_pages(2), for what the own path cannot take and for processes without an
// agent. One address per folio, in chunks; what moved is asked of the kernel afterwards, because on
// a full node the call answers ENOMEM, writes no status, and has moved most of it.
#pragma once

#include "flow/engine.h"

namespace drover::flow {

// Puts a folio aside for the next chunk; `why` is the own path's cause, told if the kernel gives no
// better one. Sends the chunk when it is full.
void KernelPathAdd(Engine& engine, uint64_t address, uint64_t pages, int32_t target, Why why);
// Sends what is left.
void KernelPathFlush(Engine& engine);

// Books pages to the ledger and tells the observer.
void Book(Engine& engine, uint64_t address, uint64_t pages, int32_t target, Outcome outcome,
          Why why);

}  // namespace drover::flow
