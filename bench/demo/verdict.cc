// The verdict alone, apart from how it is printed.
#include <fmt/format.h>

#include <algorithm>

#include "report.h"

namespace drover::demo {
namespace {

constexpr double kMovedShareMin = 0.98;
constexpr double kRelocatedShareMin = 0.98;
constexpr double kHitShareMin = 0.999;

}  // namespace

uint64_t Outcome::SumOf(const std::string& kind) const {
  uint64_t sum = 0;
  for (const Round& round : rounds) sum += round.Pages(kind);
  return sum;
}

double Outcome::RelocatedVerified() const {
  double smallest = rounds.empty() ? 0 : 1;
  for (const Round& round : rounds) smallest = std::min(smallest, round.relocated_verified);
  return smallest;
}

std::string Outcome::ReasonOfFailure() const {
  if (!never_restarted) return "Redis is not the process that was started";
  if (!digest_equal())
    return fmt::format("the data changed: digest {} before, {} after", digest_before, digest_after);
  if (client_errors > 0) return fmt::format("{} client errors: {}", client_errors, first_error);
  for (size_t i = 0; i < rounds.size(); ++i)
    if (rounds[i].ShareMoved() < kMovedShareMin)
      return fmt::format("round {} moved {} of {} pages ({:.2f} %, wanted: {:.0f} %)", i + 1,
                         rounds[i].Pages("moved"), rounds[i].Pages("requested"),
                         100 * rounds[i].ShareMoved(), 100 * kMovedShareMin);
  if (RelocatedVerified() <= kRelocatedShareMin)
    return fmt::format("only {:.2f} % of the pages were seen to change their frame",
                       100 * RelocatedVerified());
  if (hit_share <= kHitShareMin)
    return fmt::format("only {:.2f} % of the GETs found their key", 100 * hit_share);
  return "";
}

std::string VerdictLine(const Outcome& outcome) {
  const std::string reason = outcome.ReasonOfFailure();
  if (!reason.empty()) return "FAILED: " + reason;
  return fmt::format(
      "PASSED: {} moves under load, {} of {} pages moved, {:.2f} % seen in another frame, digest "
      "equal, no client error, never restarted",
      outcome.rounds.size(), outcome.SumOf("moved"), outcome.SumOf("requested"),
      100 * outcome.RelocatedVerified());
}

}  // namespace drover::demo
