#include "vm/started_victim.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "live/command.h"

namespace drover::vm {

StartedVictim::StartedVictim(With with, std::vector<std::string> options) {
  std::vector<std::string> words;
  if (with == With::kAgent) words = {live::Built("drover"), "run", "--"};
  words.push_back(live::Built("drover_victim"));
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return;
  child_ = fork();
  if (child_ == 0) {
    dup2(out[1], 1);
    execv(arguments[0], arguments.data());
    std::_Exit(127);
  }
  close(out[1]);
  ReadReadyLine(out[0]);
  close(out[0]);
}

StartedVictim::~StartedVictim() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
}

// Ends when the line does, or when the victim does.
void StartedVictim::ReadReadyLine(int from) {
  std::string line;
  for (char byte; read(from, &byte, 1) == 1 && byte != '\n';) line += byte;
  int pid = 0;
  if (std::sscanf(line.c_str(), "ready %d small %lx %lu huge %lx %lu mixed %lx %lu", &pid,
                  &small_.start, &small_.bytes, &huge_.start, &huge_.bytes, &mixed_.start,
                  &mixed_.bytes) == 7 &&
      pid == child_)
    pid_ = pid;
}

int StartedVictim::End() {
  int status = 0;
  kill(child_, SIGTERM);
  waitpid(child_, &status, 0);
  child_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace drover::vm
