// Puts the machine's settings back, also where this process is interrupted or killed: a child holds
// the list, and goes by it when the pipe to it is closed, from whatever cause.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>

namespace drover::bench {

class Restorer {
 public:
  static constexpr int kPromisesMax = 16;

  Restorer();  // makes the child
  // Everything is back when this returns.
  ~Restorer();
  Restorer(const Restorer&) = delete;
  Restorer& operator=(const Restorer&) = delete;

  // At the end `value` is written to the file; an empty one: the folder is removed. Once a path, at
  // most kPromisesMax at a time. False: nobody would do it (then the caller must not begin).
  [[nodiscard]] bool Promise(const std::string& path, const std::string& value);
  // The caller has done it by itself.
  void Release(const std::string& path);

 private:
  struct Record {
    char path[160], value[24];
    bool due;
  };
  bool Send(const std::string& path, const std::string& value, bool due);
  [[noreturn]] static void Wait(int pipe);

  int pipe_ = -1;
  pid_t child_ = -1;
  std::set<std::string> due_;
};

// Writes all of a short text into a file that is there. False: errno says why.
[[nodiscard]] bool WriteText(const std::string& path, const std::string& text);

}  // namespace drover::bench
