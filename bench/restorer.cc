#include "restorer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace drover::bench {

bool WriteText(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool written = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  close(file);
  errno = error;
  return written;
}

Restorer::Restorer() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  child_ = fork();
  if (child_ == 0) {
    close(ends[1]);
    Wait(ends[0]);
  }
  close(ends[0]);
  if (child_ > 0)
    pipe_ = ends[1];
  else
    close(ends[1]);
}

Restorer::~Restorer() {
  if (pipe_ >= 0) close(pipe_);
  if (child_ > 0) waitpid(child_, nullptr, 0);
}

bool Restorer::Promise(const std::string& path, const std::string& value) {
  if (due_.size() >= kPromisesMax && !due_.contains(path)) return false;
  if (!Send(path, value, true)) return false;
  due_.insert(path);
  return true;
}

void Restorer::Release(const std::string& path) {
  (void)Send(path, {}, false);
  due_.erase(path);
}

bool Restorer::Send(const std::string& path, const std::string& value, bool due) {
  Record record{};
  if (pipe_ < 0 || path.size() >= sizeof record.path || value.size() >= sizeof record.value)
    return false;
  memcpy(record.path, path.data(), path.size());
  memcpy(record.value, value.data(), value.size());
  record.due = due;
  return write(pipe_, &record, sizeof record) == static_cast<ssize_t>(sizeof record);
}

// (Behind a fork: system calls alone.)
void Restorer::Wait(int pipe) {
  constexpr int kTries = 50;
  constexpr useconds_t kPauseUs = 100'000;
  setsid();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) signal(number, SIG_IGN);
  static Record records[kPromisesMax];
  Record heard;
  while (read(pipe, &heard, sizeof heard) == static_cast<ssize_t>(sizeof heard)) {
    Record* place = nullptr;  // its own, or else one that is free
    for (Record& each : records)
      if ((each.due && strcmp(each.path, heard.path) == 0) || (place == nullptr && !each.due))
        place = &each;
    if (place != nullptr) *place = heard;
  }
  for (Record& each : records)
    for (int tries = 0; each.due && tries < kTries; ++tries) {
      if (each.value[0] == '\0') {
        each.due = rmdir(each.path) != 0 && errno == EBUSY;
      } else {
        const int file = open(each.path, O_WRONLY);
        const size_t length = strlen(each.value);
        each.due = file >= 0 && write(file, each.value, length) != static_cast<ssize_t>(length) &&
                   errno != EINVAL;  // it is so already
        if (file >= 0) close(file);
      }
      if (each.due) usleep(kPauseUs);
    }
  _exit(0);
}

}  // namespace drover::bench
