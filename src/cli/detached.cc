#include "cli/detached.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>

#include "cli/command.h"
#include "jobs/wire.h"

namespace drover::cli {
namespace {

constexpr std::chrono::hours kKept{1};

// (JSON may need six bytes for one.)
constexpr size_t kKeptBytesMax = jobs::kReportBytesMax / 16;

std::string Written(int file) {
  std::string text(kKeptBytesMax, '\0');
  const ssize_t got = pread(file, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

// In the new process. `told`: the parent waits there for a byte.
[[noreturn]] void Work(int told, control::Steering& steering,
                       const std::function<int(jobs::Desk& desk)>& work) {
  setsid();
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  // What the shell has open, such as a lock, is not held by the job.
  constexpr int kFirstOther = 4;
  if (told != kFirstOther - 1) dup2(told, kFirstOther - 1);
  told = kFirstOther - 1;
  close_range(kFirstOther, ~0u, 0);
  const int nothing = open("/dev/null", O_RDONLY);
  const int out = memfd_create("drover-out", MFD_CLOEXEC);
  const int err = memfd_create("drover-err", MFD_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  jobs::Desk desk(steering, true);
  const char open = desk.is_open() ? '1' : '0';
  const bool heard = write(told, &open, 1) == 1;
  close(told);
  if (!heard || !desk.is_open()) _exit(kExitFailed);
  const int exit_code = RunOrSay([&] { return work(desk); });
  std::fflush(nullptr);
  signal(SIGTERM, SIG_DFL);  // nobody need wait for a report
  desk.KeepReport({Written(out), Written(err), exit_code}, kKept);
  _exit(exit_code);
}

}  // namespace

int RunDetached(bool json, control::Steering& steering,
                const std::function<int(jobs::Desk& desk)>& work) {
  int ends[2];
  std::fflush(nullptr);
  const pid_t job = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
  if (job < 0) return Fail({Error::Kind::kFailed, "no process can be made for the job"});
  if (job == 0) {
    close(ends[0]);
    Work(ends[1], steering, work);
  }
  close(ends[1]);
  char open = '0';
  const bool begun = read(ends[0], &open, 1) == 1 && open == '1';
  close(ends[0]);
  if (!begun)
    return Fail({Error::Kind::kFailed,
                 "the job could not begin in the background (too few descriptors or threads?)"});
  if (json) {
    auto document = JsonHead("move");
    document["job"] = job;
    document["detached"] = true;
    PrintJson(document);
  } else {
    fmt::print("job {}\n", job);
  }
  return kExitDone;
}

}  // namespace drover::cli
