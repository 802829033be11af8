// One number of /proc/self/status, or of a thread's. Freestanding.
#pragma once

#include "flow/text.h"
#include "kernel/kernel.h"

namespace drover::flow {

// `field` with its colon ("VmLck:"); false: there is no such line.
[[nodiscard]] inline bool StatusNumber(kernel::Kernel& kernel, std::string_view field,
                                       uint64_t* value, const char* path = "/proc/self/status") {
  char text[4096];
  const auto got = kernel.ReadFile(path, text);
  std::string_view rest(text, got.has_value() ? *got : 0), line;
  while (EatLine(&rest, &line))
    if (EatWord(&line, field)) return EatNumber(&line, value);
  return false;
}

}  // namespace drover::flow
