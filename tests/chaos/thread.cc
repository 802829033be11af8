#include "chaos/thread.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <utility>

namespace drover::chaos {
namespace {

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void Pause() {
  constexpr timespec kShort = {0, 10'000};
  nanosleep(&kShort, nullptr);
}

const char* NameOf(Slice::State state) {
  return state == Slice::State::kData ? "data" : state == Slice::State::kZero ? "zero" : "either";
}

}  // namespace

const std::vector<Operation>& Operations() {
  static const std::vector<Operation> all = [] {
    std::vector<Operation> list;
    for (const auto& family :
         {MappingOperations(), TransferOperations(), ProcessOperations(), OutsideOperations()})
      list.insert(list.end(), family.begin(), family.end());
    return list;
  }();
  return all;
}

std::vector<uint64_t> ChosenOf(const std::string& names) {
  std::vector<uint64_t> chosen;
  std::istringstream list(names);
  for (std::string name; std::getline(list, name, ',');) {
    const auto& all = Operations();
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const Operation& operation) { return name == operation.name; });
    if (found == all.end()) return {};
    chosen.push_back(static_cast<uint64_t>(found - all.begin()));
  }
  for (uint64_t i = 0; names.empty() && i < Operations().size(); ++i) chosen.push_back(i);
  return chosen;
}

StormThread::StormThread(uint64_t number, uint64_t seed, std::vector<uint64_t> chosen, Tally& tally)
    : number_(number),
      chosen_(std::move(chosen)),
      tally_(tally),
      random_(seed + number),
      slice_(SliceStart(number), kSlicePages, SliceIsHuge(number)) {
  for (uint64_t i = 0; i < slice_.pages(); ++i) slice_.Write(i, FirstSeed(random_));
}

void StormThread::Run(const std::atomic<bool>& stop) {
  for (uint64_t done = 1; !stop && tally_.wrong == 0; ++done) {
    DoOne();
    if (done % 64 == 0) IsAllRight();
  }
}

Target StormThread::Choose(Aim aim, bool* came_back) {
  Target target{slice_, random_.Below(slice_.pages()), 1 + random_.Below(kCountMax), random_};
  if (aim != Aim::kNowhere) {
    const uint64_t end_ns = NowNs() + patience_ns_;
    std::optional<uint64_t> away;
    // Not without pause: whoever looks holds the lock that the mover needs.
    while (!(away = slice_.FindAway(random_)).has_value() && NowNs() < end_ns) Pause();
    // About every other wait is to be long enough, on a fast machine and under emulation.
    constexpr uint64_t kLeastNs = 5'000'000, kMostNs = 2'000'000'000;
    patience_ns_ = away.has_value() ? std::max(patience_ns_ / 2, kLeastNs)
                                    : std::min(patience_ns_ * 2, kMostNs);
    if (away.has_value()) target.first = *away - std::min(*away, random_.Below(target.count));
    while (away.has_value() && aim == Aim::kAfter && NowNs() < end_ns) {
      *came_back = !slice_.IsAnyAway(*away, 1);
      if (*came_back) break;
    }
  }
  target.count = std::min(target.count, slice_.pages() - target.first);
  return target;
}

// The operation that is furthest from having met as many windows as it has to; none: all have.
std::optional<uint64_t> StormThread::MostBehind() const {
  std::optional<uint64_t> found;
  uint64_t least = kWindowsNeeded;
  for (const uint64_t each : chosen_) {
    const OperationTally& tally = tally_.operations[each];
    const bool possible = tally.done > 0 || tally.unable == 0;
    if (!possible || tally.inside >= least) continue;
    least = tally.inside;
    found = each;
  }
  return found;
}

// Of two the one that has met fewer windows, so that all come to meet some; where windows are rare
// (under emulation) every third time the one that lacks most.
std::optional<uint64_t> StormThread::Draw() {
  if (const auto behind = MostBehind(); behind.has_value() && random_.OneIn(3)) return behind;
  const uint64_t one = chosen_[random_.Below(chosen_.size())],
                 other = chosen_[random_.Below(chosen_.size())];
  const uint64_t chosen =
      tally_.operations[one].inside <= tally_.operations[other].inside ? one : other;
  if (!random_.OneIn(Operations()[chosen].one_in)) return std::nullopt;
  return chosen;
}

void StormThread::DoOne() {
  const std::optional<uint64_t> drawn = Draw();
  if (!drawn.has_value()) return;
  const uint64_t chosen = *drawn;
  const Operation& operation = Operations()[chosen];
  const uint64_t aim = random_.Below(8);
  bool came_back = false;
  Target target = Choose(aim < 5   ? Aim::kInside
                         : aim < 7 ? Aim::kAfter
                                   : Aim::kNowhere,
                         &came_back);
  slice_.Note(target.first, target.count, static_cast<uint8_t>(chosen));
  OperationTally& tally = tally_.operations[chosen];
  const bool inside = slice_.IsAnyAway(target.first, target.count);
  if (!operation.run(target)) {
    ++tally.unable;
    if (!Look(target.first, target.count, operation.name)) return;
    return;
  }
  const bool away_now = slice_.IsAnyAway(target.first, target.count);
  ++tally.done;
  if (inside) ++tally.inside;
  if (!inside && away_now) ++tally.before;
  if (!inside && came_back) ++tally.after;
  if (target.wrong && tally_.wrong++ == 0)
    std::snprintf(tally_.first_wrong, sizeof tally_.first_wrong,
                  "thread %lu, %s of pages %lu to %lu%s: it has seen what must not be (error %d)",
                  static_cast<unsigned long>(number_), operation.name,
                  static_cast<unsigned long>(target.first),
                  static_cast<unsigned long>(target.first + target.count - 1),
                  inside ? ", begun in a window" : "", target.error);
  if (!Look(target.first, target.count, operation.name)) return;
  // Mostly there must be something to lose.
  for (uint64_t i = target.first; i < target.first + target.count; ++i)
    if (slice_.state(i) != Slice::State::kData && !random_.OneIn(8))
      slice_.Write(i, random_.Next());
}

bool StormThread::Look(uint64_t first, uint64_t count, const char* when) {
  tally_.pages_checked += count;
  for (uint64_t i = first; i < first + count; ++i) {
    if (slice_.IsRight(i)) continue;
    if (tally_.wrong++ > 0) return false;
    char* text = tally_.first_wrong;
    int used = std::snprintf(text, sizeof tally_.first_wrong,
                             "thread %lu, page %lu (%p) after %s; it was met last by",
                             static_cast<unsigned long>(number_), static_cast<unsigned long>(i),
                             static_cast<void*>(slice_.at(i)), when);
    for (uint64_t k = 0; k < Slice::kLast; ++k)
      used += std::snprintf(text + used, sizeof tally_.first_wrong - static_cast<size_t>(used),
                            " %s", Operations()[slice_.last(i)[k]].name);
    const auto* words = reinterpret_cast<const volatile uint64_t*>(slice_.at(i));
    std::snprintf(text + used, sizeof tally_.first_wrong - static_cast<size_t>(used),
                  "; it must be %s and has word %s", NameOf(slice_.state(i)),
                  words[0] == 0     ? "0"
                  : slice_.IsOld(i) ? "of its data"
                                    : "of another page");
    return false;
  }
  return true;
}

bool StormThread::IsAllRight() {
  return Look(0, slice_.pages(), "a look at all");
}

}  // namespace drover::chaos
