// Proof on throw-away mappings that this kernel's UFFDIO_MOVE does what the flow builds on, for
// kernels that are newer than the newest tested. Never a part of a huge page: there a kernel may
// spin inside the call.
#pragma once

#include "kernel/kernel.h"

namespace drover::flow {

enum class SelfTestStep : uint32_t {
  kNone,        // passed
  kMemory,      // no memory for the test
  kRegister,    // the ranges could not be registered
  kOut,         // pages moved out are not where, or not what, they must be
  kIn,          // the same of pages moved in
  kUndo,        // the same of pages moved back
  kOccupied,    // MOVE onto a page must say EEXIST and leave both pages alone
  kEmpty,       // MOVE from nothing must say ENOENT
  kHugeWhole,   // a huge page did not move whole, out and back
  kUnregister,  // the ranges could not be unregistered
  kCount
};

// Needs the descriptors of the kernel's own process, and nobody else who reads its messages: the
// mappings raise none, because they are not inherited and only touched where they have pages. The
// huge page is left out where none is to be had.
[[nodiscard]] SelfTestStep SelfTest(kernel::Kernel& kernel);

}  // namespace drover::flow
