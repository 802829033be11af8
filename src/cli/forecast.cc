#include "cli/forecast.h"

#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "drover/engine.h"

namespace drover::cli {
namespace {

constexpr size_t kScratchBytes = 32u << 20;
constexpr size_t kHuge = kHugeBytes;
constexpr int kRounds = 3;

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

// The best of a few rounds, in seconds per page.
std::optional<double> Measure(Engine& engine, const flow::Job& job, const std::string& migrator,
                              bool huge, double* window_us) {
  const Scratch scratch(huge);
  if (scratch.range().length_bytes == 0) return std::nullopt;
  const Way way = WayOf(job.placement);
  std::optional<double> best;
  for (int round = 0; round < kRounds; ++round) {
    MoveRequest request;
    request.ranges = {scratch.range()};
    request.batch_bytes = job.batch_bytes;
    request.migrator = migrator;
    request.target.node = way.from;
    if (way.from >= 0 && !engine.Move(request).has_value()) continue;  // to the start
    request.target.node = way.to;
    const auto moved = engine.Move(request);
    if (!moved.has_value() || moved->pages_moved < kScratchBytes / kPageBytes / 2) continue;
    const double per_page = moved->seconds / static_cast<double>(moved->pages_moved);
    if (!best.has_value() || per_page < *best) {
      best = per_page;
      *window_us = moved->window.p50_us;
    }
  }
  return best;
}

Speeds MeasureSpeeds(const flow::Job& job, const std::string& migrator,
                     const flow::JobResult& plan) {
  Speeds speeds;
  if (plan.moved_own_path > 0) {
    const auto engine = Engine::Open({});
    if (engine.has_value() && (*engine)->OwnPathRefused().empty()) {
      if (plan.moved_own_path > plan.moved_huge)
        speeds.own_small_s = Measure(**engine, job, migrator, false, &speeds.window_us);
      if (plan.moved_huge > 0)
        speeds.own_huge_s = Measure(**engine, job, migrator, true, &speeds.window_us);
    }
  }
  if (plan.moved_kernel_path > 0) {
    double ignored = 0;
    const auto engine = Engine::Open({.own_path = false});
    if (engine.has_value()) speeds.kernel_s = Measure(**engine, job, migrator, false, &ignored);
  }
  return speeds;
}

}  // namespace

Forecast Predict(const flow::Job& job, const std::string& migrator, const flow::JobResult& plan) {
  Forecast forecast;
  const Speeds speeds = MeasureSpeeds(job, migrator, plan);
  // Looking at the process costs the move what it has cost the plan.
  double seconds = static_cast<double>(plan.wall_ns) / 1e9;
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
