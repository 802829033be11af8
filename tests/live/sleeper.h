// A child that a test looks at from outside.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace drover::live {

// It does as it is told, says that it is ready, and then waits, or does something else, until the
// test ends it.
class Sleeper {
 public:
  template <class Prepare>
  explicit Sleeper(const Prepare& prepare) : Sleeper(prepare, [] { pause(); }) {}
  template <class Prepare, class Act>
  Sleeper(const Prepare& prepare, const Act& act) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      prepare();
      if (write(ready[1], "x", 1) == 1) act();
      std::_Exit(0);
    }
    char byte;
    close(ready[1]);
    ready_ = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
  }
  ~Sleeper() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  std::string pid() const { return std::to_string(pid_); }
  bool ready() const { return ready_; }

 private:
  int pid_ = 0;
  bool ready_ = false;
};

}  // namespace drover::live
