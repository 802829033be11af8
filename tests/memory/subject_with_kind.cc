#include "memory/subject_with_kind.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "live/command.h"
#include "vm/kernels_account.h"

namespace drover::memory {

SubjectWith::SubjectWith(const std::vector<std::string>& kinds) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  out_ = ends[0];
  std::vector<std::string> words = {live::Built("drover"), "run", "--",
                                    live::Built("drover_kinds")};
  words.insert(words.end(), kinds.begin(), kinds.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ == 0) {
    // On one CPU, so that all of its memory comes from one node.
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &here);
    sched_setaffinity(0, sizeof here, &here);
    dup2(ends[1], 1);
    execv(arguments[0], arguments.data());
    std::_Exit(127);
  }
  close(ends[1]);
  for (size_t i = 0; i < kinds.size(); ++i) {
    const std::string line = NextLine();
    if (line.starts_with("cannot ")) cannot_ = line.substr(7);
    Piece piece;
    if (std::sscanf(line.c_str(), "range %lx %lu", &piece.start, &piece.bytes) == 2)
      pieces_.push_back(piece);
  }
}

SubjectWith::~SubjectWith() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(out_);
}

std::string SubjectWith::NextLine() {
  constexpr int kPatienceMs = 60'000;
  std::string line;
  pollfd wait = {out_, POLLIN, 0};
  char byte = 0;
  while (poll(&wait, 1, kPatienceMs) == 1 && read(out_, &byte, 1) == 1 && byte != '\n')
    line += byte;
  return line;
}

std::string SubjectWith::Ranges() const {
  std::string text;
  for (const Piece& piece : pieces_) {
    char range[64];
    std::snprintf(range, sizeof range, "0x%lx+%lu", piece.start, piece.bytes);
    text += text.empty() ? range : std::string(",") + range;
  }
  return text;
}

int SubjectWith::Node() const {
  for (const Piece& piece : pieces_)
    for (const int node : vm::NodesOf(pid_, {piece.start, piece.bytes}))
      if (node >= 0) return node;
  return 0;
}

std::vector<uint64_t> SubjectWith::Entries() const {
  constexpr uint64_t kPage = 4096, kSoftDirty = 1ull << 55;
  std::vector<uint64_t> all;
  const int file = open(("/proc/" + std::to_string(pid_) + "/pagemap").c_str(), O_RDONLY);
  for (const Piece& piece : pieces_) {
    std::vector<uint64_t> entries(piece.bytes / kPage);
    const auto wanted = static_cast<ssize_t>(entries.size() * sizeof(uint64_t));
    if (pread(file, entries.data(), static_cast<size_t>(wanted),
              static_cast<off_t>(piece.start / kPage * sizeof(uint64_t))) == wanted)
      all.insert(all.end(), entries.begin(), entries.end());
  }
  close(file);
  for (uint64_t& entry : all) entry &= ~kSoftDirty;
  return all;
}

void SubjectWith::EndTransfers() const {
  kill(pid_, SIGUSR1);
}

bool SubjectWith::EndsRight() {
  kill(pid_, SIGTERM);
  const bool right = NextLine() == "right";
  if (right) waitpid(pid_, nullptr, 0), pid_ = -1;
  return right;
}

}  // namespace drover::memory
