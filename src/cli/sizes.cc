#include "cli/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>

namespace drover::cli {
namespace {

std::unexpected<Error> Usage(std::string message) {
  return std::unexpected(Error{Error::Kind::kUsage, std::move(message)});
}

// (strtoull would take " -1" as well, and "010" for eight.)
bool ParseNumber(const std::string& text, uint64_t* value) {
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  const char* const begin = text.data() + (hexadecimal ? 2 : 0);
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, *value, hexadecimal ? 16 : 10);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

}  // namespace

std::expected<uint64_t, Error> ParseSize(const std::string& text, uint64_t plain_unit_bytes) {
  uint64_t unit = plain_unit_bytes, value = 0;
  std::string digits = text;
  if (!digits.empty()) switch (digits.back() | 0x20) {
      case 'k':
        unit = uint64_t{1} << 10, digits.pop_back();
        break;
      case 'm':
        unit = uint64_t{1} << 20, digits.pop_back();
        break;
      case 'g':
        unit = uint64_t{1} << 30, digits.pop_back();
        break;
      default:
        break;
    }
  if (!ParseNumber(digits, &value) || value > ~uint64_t{0} / unit)
    return Usage(fmt::format("'{}' is no size; write 64k, 2m or 1g", text));
  return value * unit;
}

std::expected<std::vector<Range>, Error> ParseRanges(const std::string& text) {
  std::vector<Range> ranges;
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    const size_t split = item.find_first_of("-+");
    uint64_t start = 0, end = 0;
    bool good = split != std::string::npos && ParseNumber(item.substr(0, split), &start);
    if (good && item[split] == '-') good = ParseNumber(item.substr(split + 1), &end);
    if (good && item[split] == '+') {
      const auto size = ParseSize(item.substr(split + 1));
      good = size.has_value() && *size <= ~uint64_t{0} - start;
      if (good) end = start + *size;
    }
    if (!good)
      return Usage(
          fmt::format("'{}' is no range; write 0x7f0000000000-0x7f0000200000 or "
                      "0x7f0000000000+2m",
                      item));
    if (end <= start)
      return Usage(fmt::format("the range '{}' is empty; its end must lie behind its start", item));
    if (start % kPageBytes != 0 || end % kPageBytes != 0)
      return Usage(fmt::format("the range '{}' is off page boundaries; {:#x}-{:#x} is on them",
                               item, RoundDown(start, kPageBytes), RoundUp(end, kPageBytes)));
    ranges.push_back({start, end - start});
  }
  std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.start < b.start; });
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i - 1].Overlaps(ranges[i])) return Usage("two ranges overlap; name each page once");
  if (ranges.size() > flow::kRangesMax)
    return Usage(
        fmt::format("{} ranges are too many; at most {}", ranges.size(), flow::kRangesMax));
  return ranges;
}

std::expected<uint64_t, Error> ParseTotal(const std::string& text) {
  const auto total = ParseSize(text);
  if (total.has_value() && (*total == 0 || *total % kHugeBytes != 0))
    return Usage("--total must be a multiple of 2 MiB");
  return total;
}

namespace {

struct Unit {
  std::string_view name;
  double factor;
};

// A number with one of these units; 0: it is no such time, or none above 0.
double TimeOf(const std::string& text, std::initializer_list<Unit> units) {
  double number = 0;
  const auto [after, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !(number > 0)) return 0;
  const std::string_view name(after, static_cast<size_t>(text.data() + text.size() - after));
  for (const Unit& unit : units)
    if (unit.name == name) return number * unit.factor;
  return 0;
}

}  // namespace

std::expected<double, Error> ParseStall(const std::string& text) {
  if (text == "none") return 0;
  const double us = TimeOf(text, {{"us", 1}, {"ms", 1e3}, {"s", 1e6}});
  if (us == 0) return Usage(fmt::format("'{}' is no time; write 200us, 2ms or none", text));
  return us;
}

std::expected<uint64_t, Error> ParseRate(const std::string& text) {
  if (text == "none") return 0;
  const bool per_second = text.ends_with("/s");
  const auto rate = ParseSize(per_second ? text.substr(0, text.size() - 2) : "");
  if (!rate.has_value())
    return Usage(fmt::format("'{}' is no rate; write 500M/s, 64k/s or none", text));
  if (*rate < flow::kRateLeast || *rate > flow::kRateMost)
    return Usage(fmt::format("a rate of {} is not possible; use {} to {} a second, or none", text,
                             HumanBytes(flow::kRateLeast), HumanBytes(flow::kRateMost)));
  return rate;
}

std::expected<uint64_t, Error> ParsePercent(const std::string& text) {
  if (text == "none") return 0;
  uint64_t percent = 0;
  const bool written =
      text.ends_with("%") && ParseNumber(text.substr(0, text.size() - 1), &percent);
  if (!written || percent == 0 || percent > flow::kCpuPercentMost)
    return Usage(fmt::format("'{}' is no share of a CPU; write 1% to 100%, or none", text));
  return percent;
}

std::expected<double, Error> ParseDuration(const std::string& text) {
  if (text == "none") return 0;
  const double seconds = TimeOf(text, {{"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}});
  constexpr double kMost = static_cast<double>(flow::kJobTimeNsMost) / 1e9;
  if (seconds == 0 || seconds > kMost)
    return Usage(fmt::format("'{}' is no time; write 90s, 10m or 2h (at most {:.0f}h), or none",
                             text, kMost / 3600));
  return seconds;
}

std::expected<std::vector<int>, Error> ParseNodes(const std::string& text,
                                                  const topology::Nodes& nodes, bool need_memory) {
  std::vector<int> with_memory, ids;
  for (const auto& node : nodes.with_memory) with_memory.push_back(node.id);
  const bool inverted = !text.empty() && text[0] == '!';
  const std::string list = inverted ? text.substr(1) : text;
  if (list == "all") {
    ids = with_memory;
  } else if (!topology::ParseIdList(list, &ids)) {
    return Usage(fmt::format("'{}' is no list of nodes; write 1, 0,2-3, all or !0", text));
  }
  std::sort(ids.begin(), ids.end());
  const bool repeated = std::adjacent_find(ids.begin(), ids.end()) != ids.end();
  if (repeated) return Usage(fmt::format("'{}' names a node twice", text));
  for (const int id : ids) {
    if (id >= static_cast<int>(flow::kNodesMax) || !nodes.Exists(id))
      return std::unexpected(Error{
          Error::Kind::kUnavailable,
          fmt::format("node {} does not exist; nodes with memory: {}", id, nodes.MemoryList())});
    if (need_memory && !inverted && !nodes.HasMemory(id))
      return std::unexpected(Error{
          Error::Kind::kUnavailable,
          fmt::format("node {} has no memory; nodes with memory: {}", id, nodes.MemoryList())});
  }
  // In the order in which they were written: --from and --to are matched by position.
  if (list != "all") (void)topology::ParseIdList(list, &ids);
  if (!inverted) return ids;
  std::vector<int> others;
  for (const int id : with_memory)
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) others.push_back(id);
  if (others.empty())
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("'{}' leaves no node with memory", text)});
  return others;
}

std::expected<flow::Placement, Error> PlacementOf(const std::string& to, const std::string& from,
                                                  const topology::Nodes& nodes) {
  flow::Placement placement;
  placement.node_count = nodes.id_limit();
  if (placement.node_count > flow::kNodesMax)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("this machine has nodes beyond number {}, which drover "
                          "does not handle yet",
                          flow::kNodesMax - 1)});
  std::vector<int> sources;
  if (!from.empty()) {
    const auto parsed = ParseNodes(from, nodes, false);
    if (!parsed.has_value()) return std::unexpected(parsed.error());
    sources = *parsed;
  }
  const auto asked = [&](int node) {
    return sources.empty() || std::find(sources.begin(), sources.end(), node) != sources.end();
  };
  if (to == "same") {
    placement.same = true;
    if (!from.empty()) return Usage("--to same takes no --from");
    return placement;
  }
  const auto targets = ParseNodes(to, nodes, true);
  if (!targets.has_value()) return std::unexpected(targets.error());
  for (int node = 0; node < static_cast<int>(flow::kNodesMax); ++node)
    placement.target_of[node] = !asked(node)           ? flow::Placement::kNotAsked
                                : targets->size() == 1 ? static_cast<int16_t>(targets->front())
                                                       : flow::Placement::kSpread;
  if (!sources.empty() && sources.size() == targets->size()) {
    for (size_t i = 0; i < sources.size(); ++i)
      placement.target_of[sources[i]] = static_cast<int16_t>((*targets)[i]);
    return placement;
  }
  for (const int node : *targets) {
    const uint32_t i = placement.spread_count++;
    placement.spread[i] = static_cast<int16_t>(node);
    const uint64_t free_megabytes = nodes.Find(node)->free_bytes >> 20;
    placement.spread_weight[i] = static_cast<uint32_t>(std::max<uint64_t>(free_megabytes, 1));
  }
  return placement;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes >= uint64_t{1} << 30)
    return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / (1 << 30));
  if (bytes >= 1 << 20) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{} KiB", bytes >> 10);
}

}  // namespace drover::cli
