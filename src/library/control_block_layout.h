// What libc says of its threads' control blocks.
#pragma once

#include "flow/control_blocks.h"

namespace drover::library {

// On the calling thread, which libc must have made.
flow::ControlBlockLayout AskControlBlockLayout();

}  // namespace drover::library
