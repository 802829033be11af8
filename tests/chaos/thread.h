// One thread of the storm: draws operations, aims them at windows, counts, and looks at every page.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chaos/operations.h"
#include "chaos/tally.h"

namespace drover::chaos {

// All of them; an operation's number is its place here and in the tally.
const std::vector<Operation>& Operations();
// Of a list of names separated by commas the numbers; of an empty one all. Empty: a name is
// unknown.
std::vector<uint64_t> ChosenOf(const std::string& names);

class StormThread {
 public:
  StormThread(uint64_t number, uint64_t seed, std::vector<uint64_t> chosen, Tally& tally);

  // The content of the next page, from the first on, before anything has changed.
  static uint64_t FirstSeed(Random& random) { return random.Next(); }

  // Until told to stop, or until a page is wrong (then everything stops).
  void Run(const std::atomic<bool>& stop);
  Slice& slice() { return slice_; }
  Random& random() { return random_; }
  // Every page; false: one is wrong, and the tally names it.
  bool IsAllRight();

 private:
  static constexpr uint64_t kCountMax = 64;
  enum class Aim { kNowhere, kInside, kAfter };

  std::optional<uint64_t> MostBehind() const;
  // An operation's number; none: this time nothing is done.
  std::optional<uint64_t> Draw();
  void DoOne();
  // The pages for it, as far as they can be had in time.
  Target Choose(Aim aim, bool* came_back);
  bool Look(uint64_t first, uint64_t count, const char* when);

  uint64_t number_;
  std::vector<uint64_t> chosen_;  // the operations to be drawn
  Tally& tally_;
  Random random_;
  Slice slice_;
  uint64_t patience_ns_ = 40'000'000;  // with windows that do not come
};

}  // namespace drover::chaos
