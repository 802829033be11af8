// What a run of chaos has found, in one line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chaos/moves.h"
#include "chaos/tally.h"

namespace drover::chaos {

class Verdict {
 public:
  void Fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
  }
  bool passed() const { return why_.empty(); }
  // A storm that has ended with `code` and those who have moved it; `where` begins a failure's
  // text.
  void Judge(const std::string& where, const Tally& tally, int code, const MovesTally& moved);
  // Shows the table of the chosen operations; each must have met so many windows.
  void ShowOperations(const Tally& tally, const std::vector<uint64_t>& chosen, uint64_t needed);
  void AddMoves(const MovesTally& moved);
  // The last line but for what the caller puts behind it.
  std::string Text() const;

 private:
  std::string why_;
  uint64_t operations_ = 0, done_ = 0, inside_ = 0, untested_ = 0, fewest_ = ~uint64_t{0};
  uint64_t pages_checked_ = 0, wrong_ = 0, injected_ = 0;
  std::string fewest_name_;
  MovesTally moved_;
};

}  // namespace drover::chaos
