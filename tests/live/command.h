// Running a command and hearing what it says; and a subject with its report.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace drover::live {

struct Outcome {
  int exit_code = -1;  // 128 + signal where it was killed; -1: it did not end in time
  std::string out, err;
  nlohmann::json json() const { return nlohmann::json::parse(out, nullptr, false); }
};

// Runs it to the end of its output and of itself, at most `seconds`. A `drover move` that names no
// --max-stall has none here.
Outcome RunCommand(const std::vector<std::string>& words, int seconds = 30);

// Path of a program of this build.
std::string Built(const std::string& name);

// What stands before the words of a program that is to have an agent.
std::vector<std::string> UnderDrover();

// One line that says so, nothing on stdout, and this exit code.
void ExpectRefused(const Outcome& outcome, int exit_code, const std::string& says);

// A subject that was started by some command and reports to a file.
class Subject {
 public:
  // `before`: what stands before the subject's own words, such as {drover, "run", "--"}.
  Subject(std::vector<std::string> before, const std::vector<std::string>& options);
  ~Subject();
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  int pid() const { return pid_; }  // here, not in its own pid namespace; 0: it never became ready
  // Ends it; true: it said that every word was right.
  bool EndsRight();
  // What it has said so far.
  std::string ReportText() const;
  const Outcome& started() const { return started_; }  // of a daemon's starter

 private:
  std::string report_;
  int child_ = -1;
  int pid_ = 0;
  Outcome started_;
};

}  // namespace drover::live
