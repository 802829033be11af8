#include "rounds.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "child.h"
#include "failure.h"
#include "frames.h"
#include "topology/nodes.h"

namespace drover::demo {
namespace {

// A move of some GiB takes seconds; one that is stuck never ends.
constexpr Seconds kMoveLimit{120};
// drover's exit codes for a job that ran to its end.
constexpr int kAllMoved = 0;
constexpr int kSomeNotMoved = 3;

std::string WithoutLastNewline(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace

uint64_t PagesOnNode(pid_t pid, int node) {
  std::ifstream file(fmt::format("/proc/{}/numa_maps", pid));
  const std::string key = fmt::format("N{}=", node);
  uint64_t pages = 0;
  for (std::string word; file >> word;)
    if (word.starts_with(key)) pages += std::strtoull(word.c_str() + key.size(), nullptr, 10);
  return pages;
}

double Round::ShareMoved() const {
  const uint64_t requested = Pages("requested");
  if (requested == 0) return 0;
  return static_cast<double>(Pages("moved")) / static_cast<double>(requested);
}

std::vector<std::string> TargetsOf(pid_t pid, int rounds) {
  const auto nodes = topology::ReadNodes("/").with_memory;
  const auto count = static_cast<size_t>(rounds);
  if (nodes.size() < 2) return std::vector<std::string>(count, "same");
  int there = nodes[1].id, back = nodes[0].id;
  if (PagesOnNode(pid, there) > PagesOnNode(pid, back)) std::swap(there, back);
  std::vector<std::string> targets;
  for (size_t i = 0; i < count; ++i) targets.push_back(std::to_string(i % 2 == 0 ? there : back));
  return targets;
}

Round RunRound(const std::string& drover, pid_t pid, const std::string& to,
               const std::string& migrator) {
  const auto before = ReadFrames(pid);
  Child child({drover, "move", std::to_string(pid), "--to", to, "--migrator", migrator, "--json"});
  const auto ended = child.ReadToEnd(kMoveLimit);
  const auto after = ReadFrames(pid);
  if (ended.exit_code != kAllMoved && ended.exit_code != kSomeNotMoved)
    throw Failure(fmt::format("drover move ended with {}: {}", ended.exit_code,
                              WithoutLastNewline(ended.errors)));
  Round round;
  round.to = to;
  round.report = nlohmann::json::parse(ended.output, nullptr, false);
  if (round.report.is_discarded())
    throw Failure("drover move --json printed something else: " + ended.output);
  round.relocated_verified = ShareChanged(before, after).value_or(0);
  return round;
}

}  // namespace drover::demo
