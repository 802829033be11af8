#include "live/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace drover::live {
namespace {

using Clock = std::chrono::steady_clock;

int Spawn(const std::vector<std::string>& words, int out, int err) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int child = fork();
  if (child != 0) return child;
  if (out >= 0) dup2(out, 1);
  if (err >= 0) dup2(err, 2);
  execvp(arguments[0], arguments.data());
  std::_Exit(127);
}

int WaitFor(int child, Clock::time_point until) {
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (Clock::now() > until) {
      kill(child, SIGKILL);
      waitpid(child, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// Moves of tests have no stall budget but where they name one: under emulation, and while all kinds
// of things run beside them, no huge page fits the usual one.
std::vector<std::string> WithoutBudget(std::vector<std::string> words) {
  if (std::find(words.begin(), words.end(), "--max-stall") != words.end()) return words;
  for (size_t i = 1; i < words.size(); ++i)
    if (words[i] == "move" && words[i - 1] == Built("drover")) {
      words.insert(words.begin() + static_cast<ptrdiff_t>(i) + 1, {"--max-stall", "none"});
      break;
    }
  return words;
}

// The number by which this pid namespace calls the subject that reports to `report`.
int PidOfReporter(const std::string& report) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name, command;
    std::getline(std::ifstream(entry.path() / "comm"), name);
    std::getline(std::ifstream(entry.path() / "cmdline"), command);
    if (name == "drover_subject" && command.find(report) != std::string::npos)
      return std::atoi(entry.path().filename().c_str());
  }
  return 0;
}

}  // namespace

Outcome RunCommand(const std::vector<std::string>& words, int seconds) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) return {};
  const auto until = Clock::now() + std::chrono::seconds(seconds);
  const int child = Spawn(WithoutBudget(words), out[1], err[1]);
  close(out[1]);
  close(err[1]);
  Outcome outcome;
  pollfd wait[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  for (int open_ends = 2; open_ends > 0 && Clock::now() < until;) {
    if (poll(wait, 2, 100) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (wait[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(wait[i].fd, buffer, sizeof buffer);
      if (got > 0) (i == 0 ? outcome.out : outcome.err).append(buffer, static_cast<size_t>(got));
      if (got <= 0) wait[i].fd = -1, --open_ends;
    }
  }
  const bool in_time = Clock::now() < until;  // somebody who keeps the pipe is a failure, too
  outcome.exit_code = WaitFor(child, until);
  if (!in_time) outcome.exit_code = -1;
  close(out[0]);
  close(err[0]);
  return outcome;
}

std::string Built(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

std::vector<std::string> UnderDrover() {
  return {Built("drover"), "run", "--"};
}

void ExpectRefused(const Outcome& outcome, int exit_code, const std::string& says) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err << outcome.out;
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

Subject::Subject(std::vector<std::string> before, const std::vector<std::string>& options) {
  char folder[] = "/tmp/drover-test-XXXXXX";
  if (mkdtemp(folder) == nullptr) return;
  std::filesystem::permissions(folder, std::filesystem::perms::all);
  report_ = std::string(folder) + "/report";
  before.push_back(Built("drover_subject"));
  before.insert(before.end(), {"--report", report_});
  before.insert(before.end(), options.begin(), options.end());
  const bool daemon = std::find(options.begin(), options.end(), "--daemon") != options.end();
  if (daemon)
    started_ = RunCommand(before, 10);
  else
    child_ = Spawn(before, -1, -1);
  for (int i = 0; i < 2000 && pid_ == 0; ++i) {
    std::istringstream text(ReportText());
    std::string ready;
    if (text >> ready && ready == "ready") pid_ = PidOfReporter(report_);
    if (pid_ == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

std::string Subject::ReportText() const {
  std::ifstream file(report_);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Subject::EndsRight() {
  if (pid_ == 0) return false;
  kill(pid_, SIGTERM);
  for (int i = 0; i < 2000; ++i) {
    const std::string text = ReportText();
    if (text.find("right") != std::string::npos) return true;
    if (text.find("wrong") != std::string::npos) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

Subject::~Subject() {
  if (pid_ != 0) kill(pid_, SIGKILL);
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(report_).parent_path(), ignored);
}

}  // namespace drover::live
