// In the mutants build every test program takes the rules out that DROVER_RULES_OUT names.
#ifdef DROVER_MUTANTS
#include <cstdlib>

#include "flow/rules.h"

namespace {
[[maybe_unused]] const bool taken_out = [] {
  if (const char* bits = std::getenv("DROVER_RULES_OUT"); bits != nullptr)
    drover::flow::rules_taken_out = std::strtoull(bits, nullptr, 0);
  return true;
}();
}  // namespace
#endif
