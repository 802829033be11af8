// What belongs to the hosted engine outside the mappings that it makes for itself. None of it may
// be moved: the engine would wait for itself.
#pragma once

#include <vector>

#include "kernel/types.h"

namespace drover::library {

// The writable parts of the program or library that drover's code is in, and of libc (a copy of a
// page reads its tables): .data, .bss, and what the dynamic linker writes for lazy calls.
std::vector<Range> WritableImages();

}  // namespace drover::library
