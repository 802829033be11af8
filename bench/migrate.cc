#include "migrate.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "floor.h"
#include "measure.h"

namespace drover::bench {
namespace {

constexpr size_t kTargetBytesMax = size_t{1} << 30;

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

// The whole process, engine threads included, on this many CPUs; the old mask comes back at the
// end.
class Confine {
 public:
  explicit Confine(int cpus) {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t few;
    CPU_ZERO(&few);
    for (int cpu = 0, taken = 0; cpu < CPU_SETSIZE && taken < cpus; ++cpu)
      if (CPU_ISSET(cpu, &before_)) CPU_SET(cpu, &few), ++taken;
    sched_setaffinity(0, sizeof few, &few);
  }
  ~Confine() { sched_setaffinity(0, sizeof before_, &before_); }
  Confine(const Confine&) = delete;
  Confine& operator=(const Confine&) = delete;

 private:
  cpu_set_t before_;
};

int AllowedCpus() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

size_t FreeBytes() {
  return static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(getpagesize());
}

struct Round {
  double copy_s, fresh_s, drover_s, cpu_s;
  MoveResult result;
};

// One after another: copy floor, fresh floor, drover, each over the same number of bytes.
std::expected<Round, Error> RunRound(Engine& engine, const MigrateOptions& options,
                                     const MigrateRow& row) {
  const bool huge = row.page == "2M";
  const size_t target_bytes = std::min(options.total_bytes, kTargetBytesMax);
  Round round{};
  Buffers buffers = MapBuffers(options.total_bytes, target_bytes, huge);
  if (buffers.source == nullptr || buffers.target == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the benchmark's buffers"});
  madvise(buffers.target, target_bytes, MADV_POPULATE_WRITE);
  round.copy_s = CopyFloor(buffers, row.threads);
  madvise(buffers.target, target_bytes, MADV_DONTNEED);
  round.fresh_s = FreshFloor(buffers, row.threads);
  UnmapBuffers(buffers);

  buffers = MapBuffers(options.total_bytes, kTargetBytesMax, huge);
  MoveRequest request;
  request.ranges = {{buffers.source, buffers.source_bytes}};
  request.batch_bytes = row.batch_bytes;
  request.reuse = row.pool == "reuse";
  request.max_stall_us = options.max_stall_us;
  request.precopy = options.precopy;
  request.migrator = row.migrator;
  const double cpu = CpuSeconds(), begin = Now();
  auto result = engine.Move(request);
  round.drover_s = Now() - begin;
  round.cpu_s = CpuSeconds() - cpu;
  UnmapBuffers(buffers);
  if (!result.has_value()) return std::unexpected(result.error());
  if (result->stall_budget.has_value() && result->stall_budget->pages_left > 0)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("{} of {} pages do not fit --max-stall; {:.0f} us would do",
                          result->stall_budget->pages_left, options.total_bytes / 4096,
                          result->stall_budget->smallest_max_stall_us)});
  // A run that moved nothing, or not all, is no figure.
  if (result->pages_moved * 4096 != options.total_bytes)
    return std::unexpected(
        Error{Error::Kind::kFailed,
              fmt::format("only {} of {} pages moved ({}); no figure is given", result->pages_moved,
                          options.total_bytes / 4096,
                          result->own_path_refused.empty()
                              ? (result->not_moved.empty() ? "gone" : result->not_moved[0].why)
                              : result->own_path_refused)});
  round.result = std::move(*result);
  return round;
}

std::expected<MigrateRow, Error> RunRow(Engine& engine, const MigrateOptions& options,
                                        MigrateRow row) {
  const Confine confine(row.threads);
  std::vector<double> drover, copy, fresh, efficiency, copy_efficiency, cpu;
  const double gigabytes = static_cast<double>(options.total_bytes) / 1e9;
  for (int i = 0; i < options.rounds; ++i) {
    const auto round = RunRound(engine, options, row);
    if (!round.has_value()) return std::unexpected(round.error());
    drover.push_back(gigabytes / round->drover_s);
    copy.push_back(gigabytes / round->copy_s);
    fresh.push_back(gigabytes / round->fresh_s);
    const double floor_s = row.pool == "reuse" ? round->copy_s : round->fresh_s;
    efficiency.push_back(floor_s / round->drover_s);
    copy_efficiency.push_back(round->copy_s / round->drover_s);
    cpu.push_back(round->cpu_s);
    row.phases_s = round->result.phases_s;
    row.windows += round->result.window.count;
    row.windows_preempted += round->result.windows_preempted;
    if (round->result.stall_budget.has_value())
      row.windows_over_budget += round->result.stall_budget->windows_over;
    row.window_p50_us = round->result.window.p50_us;
    row.window_p99_us = round->result.window.p99_us;
    row.window_max_us = round->result.window.max_us;
  }
  const Spread speed = SpreadOf(drover), share = SpreadOf(efficiency);
  row.gb_per_s = speed.median, row.gb_per_s_min = speed.min, row.gb_per_s_max = speed.max;
  row.efficiency = share.median, row.efficiency_min = share.min, row.efficiency_max = share.max;
  row.copy_efficiency = SpreadOf(copy_efficiency).median;
  row.copy_floor_gb_per_s = SpreadOf(copy).median;
  row.fresh_floor_gb_per_s = SpreadOf(fresh).median;
  row.cpu_s = SpreadOf(cpu).median;
  return row;
}

std::vector<MigrateRow> RowsOf(const MigrateOptions& options) {
  std::vector<MigrateRow> rows;
  for (const std::string& page : options.pages)
    for (const std::string& pool : options.pools)
      for (const size_t batch_bytes : options.batches_bytes)
        for (const int threads : options.threads) {
          MigrateRow row;
          row.page = page;
          row.pool = pool;
          row.threads = threads;
          row.migrator = threads == 1 ? "serial" : fmt::format("threads:{}", threads);
          row.total_bytes = options.total_bytes;
          row.batch_bytes = batch_bytes;
          row.rounds = options.rounds;
          rows.push_back(row);
        }
  return rows;
}

// Empty: the row can be measured here.
std::string WhyNot(const MigrateOptions& options, const MigrateRow& row) {
  if (row.threads > AllowedCpus()) return fmt::format("only {} CPUs", AllowedCpus());
  if (options.total_bytes + kTargetBytesMax > FreeBytes() / 2)
    return "source and target take more than half of free memory";
  return {};
}

// Plain loop's time / floor's time, alternating.
double CheckFloor(const MigrateOptions& options) {
  std::vector<double> ratios;
  for (int i = 0; i < options.rounds; ++i) {
    const size_t target_bytes = std::min(options.total_bytes, kTargetBytesMax);
    Buffers buffers = MapBuffers(options.total_bytes, target_bytes, false);
    const double plain = PlainFreshFloor(buffers, 1);
    UnmapBuffers(buffers);
    if (plain < 0) return 0;
    buffers = MapBuffers(options.total_bytes, target_bytes, false);
    ratios.push_back(plain / FreshFloor(buffers, 1));
    UnmapBuffers(buffers);
  }
  return SpreadOf(ratios).median;
}

}  // namespace

std::expected<MigrateReport, Error> RunMigrate(const MigrateOptions& options) {
  auto engine = Engine::Open({});
  if (!engine.has_value()) return std::unexpected(engine.error());
  if (const std::string refused = (*engine)->OwnPathRefused(); !refused.empty())
    return std::unexpected(Error{Error::Kind::kUnavailable, refused});
  MigrateReport report;
  report.copy_function = FindFastestCopy();
  if (options.check_floor) {
    report.floor_check = CheckFloor(options);
    if (report.floor_check != 0 && report.floor_check < 0.95)
      return std::unexpected(
          Error{Error::Kind::kFailed,
                fmt::format("the floor takes {:.2f} times as long as the plain loop: it is no "
                            "floor, and ratios against it would flatter",
                            1 / report.floor_check)});
  }
  for (const MigrateRow& row : RowsOf(options)) {
    const std::string reason = WhyNot(options, row);
    const std::string name =
        fmt::format("{} {} threads={} batch={}", row.page, row.pool, row.threads, row.batch_bytes);
    if (!reason.empty()) {
      report.skipped.push_back({name, reason});
      continue;
    }
    auto done = RunRow(**engine, options, row);
    if (!done.has_value() && done.error().kind == Error::Kind::kUnavailable) {
      report.skipped.push_back({name, done.error().message});
      continue;
    }
    if (!done.has_value()) return std::unexpected(done.error());
    report.rows.push_back(std::move(*done));
  }
  return report;
}

}  // namespace drover::bench
