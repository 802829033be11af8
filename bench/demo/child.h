// A program that the demo starts: found in PATH, run without a shell, ended with the demo.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "waiting.h"

namespace drover::demo {

// Its full path; empty: there is none.
std::string FindInPath(const std::string& name);

class Child {
 public:
  // Both streams go into the file, or into pipes where no file is named. The child ends when the
  // calling thread does, so this thread must live as long as the child is wanted.
  explicit Child(const std::vector<std::string>& arguments, const std::string& output_file = "");
  ~Child();  // SIGTERM; SIGKILL when that has no effect
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  bool Running();

  struct Ended {
    int exit_code;  // 128 + the signal where one ended it
    std::string output, errors;
  };
  // Reads the pipes to their ends. Throws when that takes longer than `limit`.
  Ended ReadToEnd(Seconds limit);

 private:
  [[noreturn]] void Execute(const std::vector<std::string>& arguments, int output, int errors,
                            pid_t parent) const;
  void Reap(bool wait);
  void CloseFiles();

  std::string name_;
  pid_t pid_ = -1;
  int output_ = -1, errors_ = -1;  // the ends to read
  std::optional<int> status_;      // as waitpid(2), once it has ended
};

}  // namespace drover::demo
