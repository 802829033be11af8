#include "tune.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "copy.h"
#include "library/engines.h"
#include "topology/helpers.h"
#include "topology/nodes.h"

namespace drover::bench {
namespace {

using library::Profile;

// What helpers have to bring, so that noise does not call them.
constexpr double kHelpersPay = 1.05;
constexpr unsigned kThreadsTried = 4;
// Smaller ones are no batch that anybody would share.
constexpr uint64_t kSmallestShared = 16 << 10;
// Of a node's free memory, so that measuring does not push anybody's pages out.
constexpr uint64_t kShareOfFree = 4;

uint64_t SmallestThatPays(const Profile::Pair& pair, size_t engine) {
  uint64_t smallest = 0;
  for (auto batch = pair.batches.rbegin(); batch != pair.batches.rend(); ++batch) {
    if (batch->engines.empty() || batch->engines[engine] < kHelpersPay * batch->serial) break;
    smallest = batch->bytes;
  }
  return smallest;
}

// Of those that pay, the fastest at the largest batch.
int BestOf(const Profile::Pair& pair) {
  int best = -1;
  for (size_t i = 0; i < pair.engines.size(); ++i) {
    const std::vector<double>& fastest = pair.batches.back().engines;
    if (pair.engines[i].smallest_bytes > 0 && (best < 0 || fastest[i] > fastest[best]))
      best = static_cast<int>(i);
  }
  return best;
}

// The copy engines beside the mover alone, by size of batch.
std::expected<void, Error> MeasureEngines(const TuneOptions& options, const BufferNodes& nodes,
                                          size_t buffer_bytes, Profile::Pair* pair) {
  const size_t idle = topology::FindIdleCpus("/").size();
  const auto count = static_cast<uint32_t>(std::clamp<size_t>(idle, 2, kThreadsTried));
  for (const migrators::Kind kind : {migrators::Kind::kThreads, migrators::Kind::kChannels})
    pair->engines.push_back({.spec = {.kind = kind, .count = count}});
  CopyOptions copy{.migrators = {"serial"},
                   .pages = {"4K"},
                   .batches = {},
                   .rounds = options.rounds,
                   .nodes = nodes,
                   .copy_ways = pair->copy_ways,
                   .buffer_bytes = buffer_bytes};
  for (const Profile::Engine& engine : pair->engines)
    copy.migrators.push_back(library::WordsOf(engine.spec));
  for (const Profile::Batch& batch : pair->batches)
    if (batch.bytes >= kSmallestShared) copy.batches.push_back(batch.bytes / kPageBytes);
  const auto report = RunCopy(copy);
  if (!report.has_value()) return std::unexpected(report.error());
  for (const CopyRow& row : report->rows)
    for (Profile::Batch& batch : pair->batches) {
      if (batch.bytes != row.batch * kPageBytes) continue;
      if (row.migrator == "serial")
        batch.serial = row.gb_per_s;
      else
        batch.engines.push_back(row.gb_per_s);
    }
  for (size_t i = 0; i < pair->engines.size(); ++i)
    pair->engines[i].smallest_bytes = SmallestThatPays(*pair, i);
  pair->chosen = BestOf(*pair);
  return {};
}

std::expected<std::vector<std::pair<int, int>>, Error> PairsOf(const TuneOptions& options,
                                                               const topology::Nodes& nodes) {
  for (const auto& [source, target] : options.pairs)
    for (const int node : {source, target})
      if (!nodes.HasMemory(node))
        return std::unexpected(
            Error{Error::Kind::kUnavailable,
                  fmt::format("node {} does not exist or has no memory; nodes with memory: {}",
                              node, nodes.MemoryList())});
  std::vector<std::pair<int, int>> pairs = options.pairs;
  if (!pairs.empty()) return pairs;
  for (const topology::NodeInfo& source : nodes.with_memory)
    for (const topology::NodeInfo& target : nodes.with_memory)
      pairs.emplace_back(source.id, target.id);
  return pairs;
}

// Less where a node has little memory free.
size_t BufferBytes(const TuneOptions& options, const topology::Nodes& nodes,
                   const std::pair<int, int>& pair) {
  uint64_t bytes = options.buffer_bytes;
  for (const int node : {pair.first, pair.second})
    bytes = std::min(bytes, nodes.Find(node)->free_bytes / kShareOfFree);
  return std::max<uint64_t>(bytes / kHugeBytes, 1) * kHugeBytes;
}

std::expected<void, Error> MeasurePair(const TuneOptions& options, size_t buffer_bytes,
                                       const std::function<void(const std::string&)>& progress,
                                       Profile::Pair* pair, std::vector<WayRow>* ways) {
  const std::string name = fmt::format("node {} to {}", pair->source, pair->target);
  const BufferNodes nodes{pair->source, pair->target};
  progress(fmt::format("{}: copy functions", name));
  const auto buffers = FilledBuffers(buffer_bytes, false, nodes);
  if (!buffers.has_value()) return std::unexpected(buffers.error());
  *ways = MeasureCopyWays(*buffers, options.rounds);
  ChooseCopyWays(*ways, *buffers, options, pair);
  UnmapBuffers(*buffers);
  progress(fmt::format("{}: copy engines, by size of batch", name));
  return MeasureEngines(options, nodes, buffer_bytes, pair);
}

}  // namespace

std::expected<TuneReport, Error> RunTune(const TuneOptions& options,
                                         const std::function<void(const std::string&)>& progress) {
  TuneReport report;
  const topology::Nodes nodes = topology::ReadNodes("/");
  const auto pairs = PairsOf(options, nodes);
  if (!pairs.has_value()) return std::unexpected(pairs.error());
  for (const auto& wanted : *pairs) {
    Profile::Pair pair;
    pair.source = wanted.first;
    pair.target = wanted.second;
    if (const auto measured = MeasurePair(options, BufferBytes(options, nodes, wanted), progress,
                                          &pair, &report.ways.emplace_back());
        !measured.has_value())
      return std::unexpected(measured.error());
    report.profile.pairs.push_back(std::move(pair));
  }
  report.profile.machine = library::MachineNow();
  const std::time_t now = std::time(nullptr);
  report.profile.measured = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
  return report;
}

}  // namespace drover::bench
