#include "chaos/verdict.h"

#include <fmt/format.h>

#include <algorithm>

#include "chaos/thread.h"

namespace drover::chaos {

void Verdict::Judge(const std::string& where, const Tally& tally, int code,
                    const MovesTally& moved) {
  if (tally.wrong > 0)
    Fail(fmt::format("{}: {}", where, tally.first_wrong));
  else if (code != 0)
    Fail(fmt::format("{}: the program ended with {}", where, code));
  if (moved.ledgers_wrong > 0) Fail(where + ": a ledger does not add up");
  if (!moved.failed.empty()) Fail(where + ": a job failed: " + moved.failed);
  if (moved.pages_moved == 0) Fail(where + ": nothing was moved");
  pages_checked_ += tally.pages_checked;
  wrong_ += tally.wrong;
  injected_ += tally.injection.injected;
  AddMoves(moved);
}

void Verdict::ShowOperations(const Tally& tally, const std::vector<uint64_t>& chosen,
                             uint64_t needed) {
  fmt::print("{:<20} {:>10} {:>10} {:>10} {:>10}\n", "operation", "done", "in window", "before",
             "after");
  for (const uint64_t number : chosen) {
    const OperationTally& each = tally.operations[number];
    const char* name = Operations()[number].name;
    ++operations_;
    if (each.done == 0 && each.unable > 0) {
      fmt::print("{:<20} untested on this kernel\n", name);
      ++untested_;
      continue;
    }
    fmt::print("{:<20} {:>10} {:>10} {:>10} {:>10}\n", name, each.done.load(), each.inside.load(),
               each.before.load(), each.after.load());
    done_ += each.done;
    inside_ += each.inside;
    if (each.inside < fewest_) fewest_ = each.inside, fewest_name_ = name;
    if (each.inside < needed)
      Fail(fmt::format("not exercised: {} has met {} windows, not {}", name, each.inside.load(),
                       needed));
  }
}

void Verdict::AddMoves(const MovesTally& moved) {
  moved_.jobs += moved.jobs;
  moved_.cancelled += moved.cancelled;
  moved_.paused += moved.paused;
  moved_.cut_off += moved.cut_off;
  moved_.disturbed += moved.disturbed;
  moved_.pages_moved += moved.pages_moved;
  moved_.windows += moved.windows;
  moved_.moves_denied += moved.moves_denied;
  moved_.ladder_steps += moved.ladder_steps;
  moved_.children_filled += moved.children_filled;
  moved_.rounds += moved.rounds;
  moved_.unshared += moved.unshared;
  moved_.gathered += moved.gathered;
  moved_.filled_ahead += moved.filled_ahead;
  moved_.precopied += moved.precopied;
  moved_.changed += moved.changed;
  moved_.not_by_own_path += moved.not_by_own_path;
  moved_.copies_failed += moved.copies_failed;
  moved_.copies_late += moved.copies_late;
  moved_.copies_mended += moved.copies_mended;
  moved_.by_plugin += moved.by_plugin;
}

std::string Verdict::Text() const {
  return fmt::format(
      "{}: {} operations ({} untested on this kernel) {} times, {} in windows (fewest: {}, {}); {} "
      "jobs ({} not by the own path, {} cancelled, {} paused), {} command lines cut off, {} "
      "disturbances, {} "
      "windows, {} pages moved, {} moves denied, {} pages put back by the ladder, {} children "
      "filled, "
      "{} rounds, {} pages unshared, {} with targets filled ahead, {} copied ahead ({} changed "
      "meanwhile), {} made huge; {} failures injected; "
      "copy engines: {} batches failed or "
      "refused, {} late, {} wrong copies mended, {} pages by a plugin; {} pages looked at, {} "
      "wrong",
      passed() ? "PASSED" : "FAILED: " + why_, operations_, untested_, done_, inside_,
      fewest_ == ~uint64_t{0} ? 0 : fewest_, fewest_name_, moved_.jobs, moved_.not_by_own_path,
      moved_.cancelled, moved_.paused, moved_.cut_off, moved_.disturbed, moved_.windows,
      moved_.pages_moved, moved_.moves_denied, moved_.ladder_steps, moved_.children_filled,
      moved_.rounds, moved_.unshared, moved_.filled_ahead, moved_.precopied, moved_.changed,
      moved_.gathered, injected_, moved_.copies_failed, moved_.copies_late, moved_.copies_mended,
      moved_.by_plugin, pages_checked_, wrong_);
}

}  // namespace drover::chaos
