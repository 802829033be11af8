// --precopy, which several commands have.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "drover/engine.h"

namespace drover::cli {

// As in `--precopy=never`; without a value: always.
struct PrecopyWord {
  std::string word = "auto";

  Precopy value() const {
    return word == "always" ? Precopy::kAlways : word == "never" ? Precopy::kNever : Precopy::kAuto;
  }
};

void AddPrecopyFlag(CLI::App& command, PrecopyWord& precopy);

}  // namespace drover::cli
