#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "failure.h"

namespace drover::demo {
namespace {

constexpr Seconds kTermination{5};
constexpr int kExecFailed = 127;

// Appends what is there; false: the end.
bool ReadSome(int file, std::string* text) {
  char buffer[4096];
  const ssize_t got = read(file, buffer, sizeof buffer);
  if (got > 0) text->append(buffer, static_cast<size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

struct Pipe {
  int read_end = -1, write_end = -1;
};

Pipe MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw Failure(fmt::format("no pipe to be had: {}", std::strerror(errno)));
  return {ends[0], ends[1]};
}

}  // namespace

std::string FindInPath(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

Child::Child(const std::vector<std::string>& arguments, const std::string& output_file)
    : name_(arguments.at(0)) {
  Pipe output, errors;
  if (output_file.empty()) {
    output = MakePipe();
    errors = MakePipe();
  } else {
    output.write_end = open(output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (output.write_end < 0)
      throw Failure(fmt::format("{}: {}", output_file, std::strerror(errno)));
    errors.write_end = output.write_end;
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) Execute(arguments, output.write_end, errors.write_end, parent);
  const int fork_errno = errno;
  close(output.write_end);
  if (errors.write_end != output.write_end) close(errors.write_end);
  output_ = output.read_end;
  errors_ = errors.read_end;
  if (pid_ < 0) {
    CloseFiles();
    throw Failure(fmt::format("{} cannot be started: {}", name_, std::strerror(fork_errno)));
  }
}

// Only calls that are safe between fork and exec of a program with threads, but for the list of
// arguments: glibc's malloc works there.
void Child::Execute(const std::vector<std::string>& arguments, int output, int errors,
                    pid_t parent) const {
  // Ctrl-C in a terminal is for the demo, which then takes its children down in order.
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);
  signal(SIGPIPE, SIG_DFL);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  execv(words[0], words.data());
  _exit(kExecFailed);
}

Child::~Child() {
  Reap(false);
  if (!status_.has_value()) {
    kill(pid_, SIGTERM);
    // No wait that an interrupt ends: this one belongs to the cleaning up.
    for (const auto begin = Clock::now(); !status_.has_value(); Reap(false)) {
      if (SecondsSince(begin) > kTermination.count()) kill(pid_, SIGKILL);
      usleep(10'000);
    }
  }
  CloseFiles();
}

bool Child::Running() {
  Reap(false);
  return !status_.has_value();
}

void Child::Reap(bool wait) {
  int status = 0;
  if (!status_.has_value() && waitpid(pid_, &status, wait ? 0 : WNOHANG) == pid_) status_ = status;
}

void Child::CloseFiles() {
  for (int* file : {&output_, &errors_}) {
    if (*file >= 0) close(*file);
    *file = -1;
  }
}

Child::Ended Child::ReadToEnd(Seconds limit) {
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(limit);
  Ended ended{};
  while (output_ >= 0 || errors_ >= 0) {
    short seen_output = 0, seen_errors = 0;
    // poll(2) passes over files below 0.
    if (!WaitFor({{output_, POLLIN, &seen_output}, {errors_, POLLIN, &seen_errors}}, deadline))
      throw Failure(fmt::format("{} did not end within {:.0f} s", name_, limit.count()));
    if (seen_output != 0 && !ReadSome(output_, &ended.output)) close(output_), output_ = -1;
    if (seen_errors != 0 && !ReadSome(errors_, &ended.errors)) close(errors_), errors_ = -1;
  }
  Reap(true);
  const int status = status_.value_or(0);
  ended.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return ended;
}

}  // namespace drover::demo
