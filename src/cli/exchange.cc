// drover exchange: two ranges of a process change places.
#include "cli/exchange.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/move.h"
#include "cli/sizes.h"
#include "cli/target_checks.h"

namespace drover::cli {
namespace {

// The node where most of these pages are.
std::expected<int, Error> HomeOf(int pid, const std::vector<Range>& ranges, const char* option) {
  const auto pages = PagesByNode(pid, ranges);
  if (!pages.has_value()) return std::unexpected(pages.error());
  const auto most =
      std::max_element(pages->begin(), pages->end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == pages->end())
    return std::unexpected(Error{
        Error::Kind::kUnavailable,
        fmt::format("no page of {} of process {} is there; see `drover pages {} --by-mapping`",
                    option, pid, pid)});
  return most->first;
}

// Both sides' ranges, in one rising list.
std::expected<void, Error> SetRanges(const std::vector<Range> (&sides)[2], flow::Job* job) {
  std::vector<std::pair<Range, uint8_t>> all;
  for (const uint8_t side : {uint8_t{0}, uint8_t{1}})
    for (const Range& range : sides[side]) all.push_back({range, side});
  const auto usage = [](std::string message) {
    return std::unexpected(Error{Error::Kind::kUsage, std::move(message)});
  };
  if (all.size() > flow::kRangesMax)
    return usage(fmt::format("{} ranges are too many; at most {}", all.size(), flow::kRangesMax));
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.first.start < b.first.start; });
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && all[i - 1].first.Overlaps(all[i].first))
      return usage("--range and --with overlap; a page cannot change places with itself");
    job->ranges[i] = all[i].first;
    job->exchange.side_of[i] = all[i].second;
  }
  job->range_count = static_cast<uint32_t>(all.size());
  return {};
}

}  // namespace

std::expected<void, Error> PlaceExchange(const MoveOptions& options, int pid,
                                         const topology::Nodes& nodes, flow::Job* job) {
  std::vector<Range> sides[2];
  for (const int side : {0, 1}) {
    const auto ranges = ParseRanges(side == 0 ? options.range : options.with);
    if (!ranges.has_value()) return std::unexpected(ranges.error());
    sides[side] = *ranges;
  }
  if (const auto set = SetRanges(sides, job); !set.has_value()) return set;
  if (nodes.with_memory.size() < 2)
    return std::unexpected(Error{
        Error::Kind::kUnavailable,
        "this machine has one node with memory, so there is nothing to exchange; `drover topo`"});
  if (pid == 0) return {};
  const auto zero = HomeOf(pid, sides[0], "--range"), one = HomeOf(pid, sides[1], "--with");
  if (!zero.has_value()) return std::unexpected(zero.error());
  if (!one.has_value()) return std::unexpected(one.error());
  if (*zero == *one)
    return std::unexpected(
        Error{Error::Kind::kUsage,
              fmt::format("most of --range is on node {0}, and so is most of --with; `drover move "
                          "{1} --range ... --to NODE` moves one of them",
                          *zero, pid)});
  // Each page goes to where most of the other side is; by the placement the rest of drover sees
  // which nodes are targets.
  std::fill(std::begin(job->placement.target_of), std::end(job->placement.target_of),
            flow::Placement::kNotAsked);
  job->placement.node_count = nodes.id_limit();
  job->exchange.on = true;
  job->exchange.to[0] = job->placement.target_of[*zero] = static_cast<int16_t>(*one);
  job->exchange.to[1] = job->placement.target_of[*one] = static_cast<int16_t>(*zero);
  return {};
}

void AddExchange(CLI::App& app, Chosen& chosen) {
  auto* exchange = app.add_subcommand("exchange", "let two ranges of a process change their nodes");
  auto options = std::make_shared<MoveOptions>();
  AddExchangeOptions(*exchange, *options);
  exchange->footer(
      "The pages of --range come to the node where most of --with is, and the other way round:\n"
      "batches take turns, and what one has left the next one gets, so that both nodes may be\n"
      "full but for a first batch (twice its size must be free on one of them; batches are made\n"
      "smaller for it, but a huge page is 2 MiB). What one side has more than the other is moved\n"
      "like by `drover move`, into free memory.\n"
      "\n"
      "For programs whose memory the kernel does not use behind their backs: pages that have been\n"
      "left get the other side's data at once. What is still being sent by MSG_ZEROCOPY or\n"
      "vmsplice would then send that, and a driver that writes late would write into it. `drover\n"
      "move`, once in each direction, has no such risk, but takes free memory.\n"
      "Example: drover exchange 4711 --range 0x7f0000000000+1g --with 0x7f8000000000+1g");
  exchange->callback([=, &chosen] {
    CheckHow(*exchange, *options);
    chosen.run = [=] { return Move(*options); };
  });
}

}  // namespace drover::cli
