#include "cli/forecast.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "drover/engine.h"
#include "topology/helpers.h"

namespace drover::cli {
namespace {

constexpr size_t kScratchBytes = 32u << 20;
constexpr size_t kHuge = kHugeBytes;
constexpr int kRounds = 3;
// Of one trial: where a machine is so slow that its rounds take longer, one has to do.
constexpr std::chrono::milliseconds kEnough{250};
constexpr size_t kSinglePages = 32;

// Filled memory of small or huge pages, aligned to huge pages.
class Scratch {
 public:
  explicit Scratch(bool huge) {
    mapped_ = mmap(nullptr, kScratchBytes + kHuge, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped_ == MAP_FAILED) return;
    start_ = reinterpret_cast<char*>(RoundUp(reinterpret_cast<uint64_t>(mapped_), kHuge));
    madvise(start_, kScratchBytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    std::memset(start_, 1, kScratchBytes);
  }
  ~Scratch() {
    if (mapped_ != MAP_FAILED) munmap(mapped_, kScratchBytes + kHuge);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  AddressRange range() const { return {start_, start_ == nullptr ? 0 : kScratchBytes}; }

 private:
  void* mapped_ = MAP_FAILED;
  char* start_ = nullptr;
};

// From where to where pages go; negative: they stay on their node.
struct Way {
  int from = -1, to = -1;
};

Way WayOf(const flow::Placement& placement) {
  if (placement.same) return {};
  for (int source = 0; source < static_cast<int>(placement.node_count); ++source) {
    int target = placement.target_of[source];
    if (target == flow::Placement::kSpread && placement.spread_count > 0)
      target = placement.spread[0] != source ? placement.spread[0]
                                             : placement.spread[placement.spread_count - 1];
    if (target >= 0 && target != source) return {source, target};
  }
  return {};
}

// Moves scratch memory on a way, again and again.
class Trial {
 public:
  Trial(Engine& engine, const flow::Job& job, const std::string& migrator)
      : engine_(engine), way_(WayOf(job.placement)) {
    request_.batch_bytes = job.batch_bytes;
    request_.migrator = migrator;
    request_.max_stall_us = static_cast<double>(job.max_stall_ns) / 1e3;
    request_.precopy = static_cast<Precopy>(job.precopy);
    request_.over_budget = job.max_stall_ns > 0;  // the plan has left those out already
  }

  struct Seen {
    double seconds = 0;  // median
    double window_us = 0;
    uint64_t batches = 0, pages = 0;
  };
  // The median, not the best: where the machine is busy, so it will be for the move.
  std::optional<Seen> Run(std::vector<AddressRange> ranges, bool plan_only = false) {
    request_.ranges = std::move(ranges);
    size_t bytes = 0;
    for (const AddressRange& range : request_.ranges) bytes += range.length_bytes;
    std::vector<Seen> seen;
    const auto until = std::chrono::steady_clock::now() + kEnough;
    for (int round = 0; round < kRounds; ++round) {
      if (!seen.empty() && std::chrono::steady_clock::now() > until) break;
      request_.target.node = way_.from;
      request_.plan_only = false;
      if (way_.from >= 0 && !engine_.Move(request_).has_value()) continue;  // to the start
      request_.target.node = way_.to;
      request_.plan_only = plan_only;
      const auto moved = engine_.Move(request_);
      if (!moved.has_value() || moved->pages_moved == 0 ||
          moved->pages_moved < bytes / kPageBytes / 2)
        continue;
      seen.push_back(
          {moved->seconds, moved->window.p50_us, moved->window.count, moved->pages_moved});
    }
    if (seen.empty()) return std::nullopt;
    const auto middle = seen.begin() + static_cast<ptrdiff_t>(seen.size() / 2);
    std::nth_element(seen.begin(), middle, seen.end(),
                     [](const Seen& a, const Seen& b) { return a.seconds < b.seconds; });
    return *middle;
  }

 private:
  Engine& engine_;
  const Way way_;
  MoveRequest request_;
};

// By jobs of one batch and of many, each of one page. What looking at a process costs is left out:
// the plan has shown that of the process itself.
std::optional<Fixed> MeasureFixed(Trial& trial) {
  const Scratch scratch(false);
  if (scratch.range().length_bytes == 0) return std::nullopt;
  std::vector<AddressRange> ranges;
  for (size_t i = 0; i < kSinglePages; ++i)
    ranges.push_back(
        {static_cast<const char*>(scratch.range().start) + 2 * i * kPageBytes, kPageBytes});
  const auto many = trial.Run(ranges);
  const auto one = trial.Run({ranges[0]});
  const auto look = trial.Run({ranges[0]}, true);
  if (!many.has_value() || !one.has_value() || !look.has_value()) return std::nullopt;
  const double batch_s =
      std::max(0.0, (many->seconds - one->seconds) / static_cast<double>(kSinglePages - 1));
  return Fixed{std::max(0.0, one->seconds - look->seconds - batch_s), batch_s};
}

// Seconds per page, beside what is fixed.
std::optional<double> MeasurePages(Trial& trial, bool huge, const Fixed& fixed, double* window_us) {
  const Scratch scratch(huge);
  if (scratch.range().length_bytes == 0) return std::nullopt;
  const auto seen = trial.Run({scratch.range()});
  if (!seen.has_value()) return std::nullopt;
  *window_us = seen->window_us;
  const double rest =
      seen->seconds - fixed.job_s - static_cast<double>(seen->batches) * fixed.batch_s;
  return std::max(0.0, rest) / static_cast<double>(seen->pages);
}

Speeds MeasureSpeeds(const flow::Job& job, const std::string& migrator,
                     const flow::JobResult& plan) {
  Speeds speeds;
  if (plan.moved_own_path > 0) {
    const auto engine = Engine::Open({});
    if (engine.has_value() && (*engine)->OwnPathRefused().empty()) {
      Trial trial(**engine, job, migrator);
      speeds.own_fixed = MeasureFixed(trial);
      // How many batches a budget makes is not known beforehand: then they are part of the pages.
      if (job.max_stall_ns > 0 && speeds.own_fixed.has_value()) speeds.own_fixed->batch_s = 0;
      const Fixed fixed = speeds.own_fixed.value_or(Fixed());
      if (plan.moved_own_path > plan.moved_huge)
        speeds.own_small_s = MeasurePages(trial, false, fixed, &speeds.window_us);
      if (plan.moved_huge > 0)
        speeds.own_huge_s = MeasurePages(trial, true, fixed, &speeds.window_us);
    }
  }
  if (plan.moved_kernel_path > 0) {
    double ignored = 0;
    const auto engine = Engine::Open({.own_path = false});
    if (engine.has_value()) {
      Trial trial(**engine, job, migrator);
      speeds.kernel_s = MeasurePages(trial, false, {}, &ignored);
    }
  }
  return speeds;
}

}  // namespace

Forecast Predict(const flow::Job& job, const std::string& migrator, const flow::JobResult& plan) {
  Forecast forecast;
  forecast.idle_cpus = static_cast<unsigned>(topology::FindIdleCpus("/").size());
  const Speeds speeds = MeasureSpeeds(job, migrator, plan);
  // Looking at the process costs the move what it has cost the plan.
  double seconds = static_cast<double>(plan.wall_ns) / 1e9;
  if (speeds.own_fixed.has_value())
    seconds +=
        speeds.own_fixed->job_s + static_cast<double>(plan.batches) * speeds.own_fixed->batch_s;
  const auto add = [&](uint64_t pages, std::optional<double> per_page, const char* what) {
    if (pages == 0) return;
    if (per_page.has_value())
      seconds += static_cast<double>(pages) * *per_page;
    else
      forecast.unknown = what;
  };
  constexpr const char* kNoRight =
      "the own path could not be tried out by this user; run `drover move --dry-run` as root";
  add(plan.moved_own_path - plan.moved_huge, speeds.own_small_s, kNoRight);
  add(plan.moved_huge, speeds.own_huge_s, kNoRight);
  add(plan.moved_kernel_path, speeds.kernel_s, "move_pages could not be tried out");
  if (!forecast.unknown.empty()) return forecast;
  forecast.seconds = seconds;
  if (plan.moved_own_path > 0) forecast.window_us = speeds.window_us;
  return forecast;
}

}  // namespace drover::cli
