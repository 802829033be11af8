// What ends the demo before its verdict, with the exit code that it leaves.
#pragma once

#include <stdexcept>
#include <string>

namespace drover::demo {

enum ExitCode {
  kExitPassed = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitUnavailable = 4,
  kExitNotPermitted = 5,
  kExitInterrupted = 130,
};

// Thrown, so that everything that was started is taken down on the way out.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& message, ExitCode exit_code = kExitFailed)
      : std::runtime_error(message), exit_code_(exit_code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

}  // namespace drover::demo
