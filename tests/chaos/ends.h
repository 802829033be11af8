// How a program may end, or shut itself in, while its memory is moved.
#pragma once

#include <string>

#include "chaos/thread.h"

namespace drover::chaos {

inline constexpr const char* kEnds[] = {"exec",    "exit",   "kill", "abort",
                                        "seccomp", "robust", "off"};

// Does it in a window, if one comes in time (then it is counted as operation 0); where the program
// goes on, its memory is looked at. "off" is what another does to it: it waits for SIGTERM. Returns
// the exit code that follows.
int EndSo(const std::string& how, StormThread& thread, Tally& tally);
// What the parent must see of it then: an exit code, or 128 + signal.
int ExpectedOf(const std::string& how);

}  // namespace drover::chaos
