// The kernel's clock, read without a system call.
#pragma once

#include "kernel/linux_kernel.h"

namespace drover::library {

// clock_gettime of the page of code that the kernel maps into each process (vdso(7)); nullptr:
// there is none. It touches nothing but the kernel's own pages, which are never moved, so engine
// threads may call it in a window. To be asked for where libc may be called.
kernel::LinuxKernel::Clock FindFastClock();

}  // namespace drover::library
