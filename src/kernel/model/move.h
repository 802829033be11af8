// UFFDIO_MOVE on the model's memory, step by step as in mm/userfaultfd.c of Linux 6.18.
#pragma once

#include "kernel/model/machine.h"

namespace drover::kernel::model {

// Without the wake and the arguments' checks. `bytes` is what did move; with any error, too.
MoveAnswer MovePages(Machine& machine, uint64_t target, uint64_t source, uint64_t length);

}  // namespace drover::kernel::model
