// A copy engine at work for a job, and its part of the batch in hand.
#pragma once

#include "flow/job.h"
#include "migrators/registry.h"

namespace drover::flow {

// Who may have memory of a batch in its hands. Mover thread only.
struct Holder {
  migrators::Migrator* engine = nullptr;
  migrators::Kind kind = migrators::Kind::kSerial;
  bool entered = false;  // the registry is owed a Leave
  bool late = false;     // it has a part of an earlier batch
};

// The folios stay as they are while the engine has them, which may be longer than their batch
// lasts.
struct Slot {
  Holder holder;
  migrators::Terms terms;         // of this job; the registry has those of all
  uint64_t first = 0, count = 0;  // which of the batch's folios it got
  migrators::Folio folios[kBatchPagesMax];
};

}  // namespace drover::flow
