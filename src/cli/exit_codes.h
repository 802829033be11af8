// drover's exit codes; README lists them for users.
#pragma once

#include <string>
#include <utility>

#include "drover/engine.h"

namespace drover::cli {

enum ExitCode : int {
  kExitDone = 0,    // nothing is not_moved
  kExitFailed = 1,  // the job itself failed
  kExitUsage = 2,
  kExitNotAllMoved = 3,  // the job ran to its end and something is not_moved
  kExitUnavailable = 4,  // something that the user named is not to be had
  kExitNotPermitted = 5,
  kExitTargetGone = 6,
  kExitInterrupted = 130,
};

inline int ExitCodeOf(Error::Kind kind) {
  switch (kind) {
    case Error::Kind::kUsage:
      return kExitUsage;
    case Error::Kind::kUnavailable:
      return kExitUnavailable;
    case Error::Kind::kNotPermitted:
      return kExitNotPermitted;
    case Error::Kind::kTargetGone:
      return kExitTargetGone;
    case Error::Kind::kFailed:
      break;
  }
  return kExitFailed;
}

// For what the user has named and what is not there.
inline Error Unavailable(std::string message) {
  return {Error::Kind::kUnavailable, std::move(message)};
}

}  // namespace drover::cli
