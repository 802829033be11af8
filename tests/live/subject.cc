// A program to be moved: checked memory under threads, in the shapes that servers have.
//
//   drover_subject --mib 16 --report FILE [--daemon] [--close] [--user UID] [--threads N] [--idle]
//
// It writes "ready PID" into FILE; on SIGTERM it looks at every word once more and writes "right"
// or "wrong N" there.
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "live/checked_memory.h"

namespace {

struct Options {
  size_t mib = 16;
  std::string report;
  bool daemon = false, close = false, idle = false;
  long user = -1;
  uint32_t threads = 2;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--mib") options.mib = std::strtoul(value(), nullptr, 10);
    if (word == "--report") options.report = value();
    if (word == "--daemon") options.daemon = true;
    if (word == "--close") options.close = true;
    if (word == "--idle") options.idle = true;
    if (word == "--user") options.user = std::strtol(value(), nullptr, 10);
    if (word == "--threads") options.threads = static_cast<uint32_t>(std::atoi(value()));
  }
  return options;
}

// The report is opened before rights are dropped and descriptors closed, at a high number.
int OpenReport(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int high = fcntl(file, F_DUPFD, 200);
  close(file);
  return high;
}

void Say(int report, const std::string& line) {
  if (write(report, line.data(), line.size()) < 0) std::_Exit(9);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const int report = OpenReport(options.report);
  if (options.daemon) {
    if (fork() != 0) return 0;
    setsid();
    if (fork() != 0) return 0;
    for (int standard = 0; standard < 3; ++standard) {
      const int null = open("/dev/null", O_RDWR);
      dup2(null, standard);
      close(null);
    }
  }
  if (options.close) {  // as daemons do: everything that they do not know
    close_range(3, static_cast<unsigned>(report) - 1, 0);
    close_range(static_cast<unsigned>(report) + 1, ~0u, 0);
  }
  if (options.user >= 0) {
    const auto user = static_cast<uid_t>(options.user);
    if (setgroups(0, nullptr) != 0 || setgid(user) != 0 || setuid(user) != 0) return 8;
  }
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  drover::live::CheckedMemory memory(options.mib << 20, false);
  if (!options.idle) memory.StartThreads(options.threads);
  Say(report, "ready " + std::to_string(getpid()) + "\n");
  int signal = 0;
  sigwait(&end, &signal);
  const uint64_t wrong = memory.StopThreadsAndCountWrongWords();
  Say(report, wrong == 0 ? "right\n" : "wrong " + std::to_string(wrong) + "\n");
  return wrong == 0 ? 0 : 1;
}
