// A running drover_kinds with one kind of memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace drover::memory {

class SubjectWith {
 public:
  // Under `drover run`.
  explicit SubjectWith(const std::string& kind);
  ~SubjectWith();
  SubjectWith(const SubjectWith&) = delete;
  SubjectWith& operator=(const SubjectWith&) = delete;

  int pid() const { return pid_; }
  const std::string& cannot() const { return cannot_; }  // why it could not make the kind
  uint64_t start() const { return start_; }
  uint64_t bytes() const { return bytes_; }  // 0: it has not said
  // The entries of its page table, as /proc/PID/pagemap shows them to root, without the soft-dirty
  // bit, which any look may change.
  std::vector<uint64_t> Entries() const;
  // Ends it; true: every page read as it must.
  bool EndsRight();

 private:
  std::string NextLine();

  int pid_ = -1, out_ = -1;
  uint64_t start_ = 0, bytes_ = 0;
  std::string cannot_;
};

}  // namespace drover::memory
