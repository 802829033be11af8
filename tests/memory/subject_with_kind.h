// A running drover_kinds with some kinds of memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace drover::memory {

class SubjectWith {
 public:
  struct Piece {
    uint64_t start = 0;
    uint64_t bytes = 0;
  };

  // Under `drover run`. Made in this order; one that needs this process alone comes last.
  explicit SubjectWith(const std::vector<std::string>& kinds);
  ~SubjectWith();
  SubjectWith(const SubjectWith&) = delete;
  SubjectWith& operator=(const SubjectWith&) = delete;

  int pid() const { return pid_; }
  // Why it could not make one of the kinds; empty: they are all there.
  const std::string& cannot() const { return cannot_; }
  const std::vector<Piece>& pieces() const { return pieces_; }  // fewer: it has not said
  // As `drover move --range` wants it.
  std::string Ranges() const;
  // Where its first page is that is there.
  int Node() const;
  // The entries of its page table for all pieces, as /proc/PID/pagemap shows them to root, without
  // the soft-dirty bit, which any look may change.
  std::vector<uint64_t> Entries() const;
  // Lets the transfers under way come to their end.
  void EndTransfers() const;
  // Ends it; true: every page read as it must.
  bool EndsRight();

 private:
  std::string NextLine();

  int pid_ = -1, out_ = -1;
  std::vector<Piece> pieces_;
  std::string cannot_;
};

}  // namespace drover::memory
