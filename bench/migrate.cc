#include "migrate.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "kernel/types.h"
#include "kernel_side.h"
#include "measure.h"
#include "report/table.h"

namespace drover::bench {
namespace {

// Of what the copy floor copies to, in turns: many times what the caches of one CPU hold.
constexpr size_t kCopyTargetBytesMax = size_t{512} << 20;
constexpr const char* kSmallToHuge = "4K-2M";
constexpr double kFloorCheckMin = 0.95;
// More looks for idle CPUs in a row's rounds, a second apart, before rounds do without.
constexpr int kLooksForHelpers = 5;

size_t FreeBytes() {
  return static_cast<size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<size_t>(getpagesize());
}

// Of VmHWM and its like, in /proc/self/status. 0: there is no such line.
size_t StatusBytes(const char* key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::stoull(line.substr(line.find(':') + 1)) << 10;
  return 0;
}

// How much larger this process has become meanwhile, at most.
class ExtraMemory {
 public:
  ExtraMemory() {
    std::ofstream("/proc/self/clear_refs") << 5;  // VmHWM = VmRSS (proc(5), Linux 4.0)
    before_bytes_ = StatusBytes("VmRSS") + StatusBytes("VmPTE");
  }
  size_t Most() const {
    const size_t most = StatusBytes("VmHWM") + StatusBytes("VmPTE");
    return most - std::min(most, before_bytes_);
  }

 private:
  size_t before_bytes_;
};

struct Round {
  double copy_s, fresh_s, drover_s, cpu_s;
  double kernel_s = 0;  // 0: not measured
  size_t extra_memory_bytes;
  std::string kernel_how;
  MoveResult result;
};

// What the move has to be, so that its figure is one.
std::expected<void, Error> CheckMoved(const MigrateCase& of, const MoveResult& result) {
  const size_t pages = of.total_bytes / 4096;
  if (result.stall_budget.has_value() && result.stall_budget->pages_left > 0)
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("{} of {} pages do not fit --max-stall; {:.0f} us would do",
                          result.stall_budget->pages_left, pages,
                          result.stall_budget->smallest_max_stall_us)});
  if (result.pages_moved != pages)
    return std::unexpected(Error{
        Error::Kind::kFailed,
        fmt::format("only {} of {} pages moved ({}); no figure is given", result.pages_moved, pages,
                    result.own_path_refused.empty()
                        ? (result.not_moved.empty() ? "gone" : result.not_moved[0].why)
                        : result.own_path_refused)});
  if (of.page == kSmallToHuge && result.gathered->pages != pages)
    return std::unexpected(Error{
        Error::Kind::kUnavailable,
        fmt::format(
            "only {} of {} pages became parts of huge ones ({})", result.gathered->pages, pages,
            result.gathered->stay_small.empty() ? "gone" : result.gathered->stay_small[0].why)});
  return {};
}

std::expected<void, Error> TimeFloors(const MigrateOptions& options, const MigrateCase& of,
                                      Round* round) {
  const Buffers buffers =
      MapBuffers(of.total_bytes, of.total_bytes, of.page == "2M", options.nodes);
  if (buffers.source == nullptr || buffers.target == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the benchmark's buffers"});
  // (4K-2M: the target's size is what matters to its faults.)
  if (of.page == kSmallToHuge) madvise(buffers.target, buffers.target_bytes, MADV_HUGEPAGE);
  Buffers limited = buffers;
  limited.target_bytes = std::min(of.total_bytes, kCopyTargetBytesMax);
  madvise(limited.target, limited.target_bytes, MADV_POPULATE_WRITE);
  round->copy_s = CopyFloor(limited, of.threads);
  madvise(limited.target, limited.target_bytes, MADV_DONTNEED);
  // (Every target page is a new one; each step frees as much as it takes.)
  round->fresh_s = FreshFloor(buffers, of.threads);
  UnmapBuffers(buffers);
  return {};
}

// Has this move had the threads that it was to have? (Channels and plugins count their own.)
bool HadThreads(const MigrateCase& of, const MoveResult& result) {
  return of.migrator != MigratorOf(of.threads) ||
         result.copy_threads >= static_cast<unsigned>(of.threads);
}

// A move of a huge page that nobody times.
std::expected<MoveResult, Error> WarmUp(Engine& engine, const std::string& migrator) {
  const Buffers buffers = MapBuffers(kHugeBytes, kHugeBytes, true);
  if (buffers.source == nullptr || buffers.target == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the benchmark's buffers"});
  MoveRequest request;
  request.ranges = {{buffers.source, buffers.source_bytes}};
  request.migrator = migrator;
  auto result = engine.Move(request);
  UnmapBuffers(buffers);
  return result;
}

// The engine looks for idle CPUs for its threads from time to time; not while it is timed. Where
// others have just had them it looks again.
std::expected<void, Error> FindThreads(Engine& engine, const MigrateCase& of, int* looks_left) {
  for (;; --*looks_left) {
    const auto warm = WarmUp(engine, of.migrator);
    if (!warm.has_value()) return std::unexpected(warm.error());
    if (HadThreads(of, *warm) || *looks_left == 0) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  }
}

std::expected<void, Error> TimeDrover(Engine& engine, const MigrateOptions& options,
                                      const MigrateCase& of, int* looks_left, Round* round) {
  const Buffers buffers = MapBuffers(of.total_bytes, kHugeBytes, of.page == "2M", options.nodes);
  if (of.page == kSmallToHuge) madvise(buffers.source, buffers.source_bytes, MADV_HUGEPAGE);
  MoveRequest request;
  request.ranges = {{buffers.source, buffers.source_bytes}};
  if (options.nodes.target >= 0) request.target = Target::ToNode(options.nodes.target);
  request.batch_bytes = of.batch_bytes;
  request.reuse = of.pool == "reuse";
  request.page_size = of.page == kSmallToHuge ? PageSize::kHuge : PageSize::kKeep;
  request.max_stall_us = options.max_stall_us;
  request.precopy = options.precopy;
  request.migrator = of.migrator;
  if (const auto found = FindThreads(engine, of, looks_left); !found.has_value()) return found;
  const ExtraMemory extra;
  const double cpu = CpuSeconds(), begin = Now();
  auto result = engine.Move(request);
  round->drover_s = Now() - begin;
  round->cpu_s = CpuSeconds() - cpu;
  round->extra_memory_bytes = extra.Most();
  UnmapBuffers(buffers);
  if (!result.has_value()) return std::unexpected(result.error());
  if (const auto moved = CheckMoved(of, *result); !moved.has_value()) return moved;
  round->result = std::move(*result);
  return {};
}

// By which call the kernel does this job, if there is one.
bool HasKernelSide(const MigrateOptions& options, const MigrateCase& of) {
  return options.beside_kernel && (of.page == kSmallToHuge || options.nodes.target >= 0);
}

std::expected<void, Error> TimeKernel(const MigrateOptions& options, const MigrateCase& of,
                                      Round* round) {
  const Buffers buffers = MapBuffers(of.total_bytes, kHugeBytes, of.page == "2M", options.nodes);
  const auto moved = of.page == kSmallToHuge ? CollapseByKernel(buffers, of.threads)
                                             : MovePagesByKernel(buffers, of.page == "2M",
                                                                 options.nodes.target, of.threads);
  UnmapBuffers(buffers);
  if (!moved.has_value()) return std::unexpected(moved.error());
  round->kernel_s = moved->seconds;
  if (moved->bytes != of.total_bytes)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("the kernel moved {} of {} bytes by {}",
                                                     moved->bytes, of.total_bytes, moved->how)});
  round->kernel_how = moved->how;
  return {};
}

// One after another, each over the same number of bytes.
std::expected<Round, Error> RunRound(Engine& engine, const MigrateOptions& options,
                                     const MigrateCase& of, int* looks_left) {
  Round round{};
  auto done = TimeFloors(options, of, &round);
  if (done.has_value()) done = TimeDrover(engine, options, of, looks_left, &round);
  if (done.has_value() && HasKernelSide(options, of)) done = TimeKernel(options, of, &round);
  if (!done.has_value()) return std::unexpected(done.error());
  return round;
}

void NoteMove(const Round& round, MigrateRow* row) {
  const MoveResult& result = round.result;
  row->phases_s = result.phases_s;
  row->windows += result.window.count;
  const bool had_none = result.copy_threads == 1 && !HadThreads(row->of, result);
  row->batches_alone += had_none ? result.window.count : result.batches_alone;
  row->windows_preempted += result.windows_preempted;
  if (result.stall_budget.has_value())
    row->windows_over_budget += result.stall_budget->windows_over;
  row->window_p50_us = result.window.p50_us;
  row->window_p99_us = result.window.p99_us;
  row->window_max_us = result.window.max_us;
  row->extra_memory_bytes = std::max(row->extra_memory_bytes, round.extra_memory_bytes);
}

std::expected<MigrateRow, Error> RunRow(Engine& engine, const MigrateOptions& options,
                                        const MigrateCase& of) {
  const Confine confine(of.threads);
  MigrateRow row;
  row.of = of, row.rounds = options.rounds;
  std::vector<double> drover, copy, fresh, efficiency, copy_efficiency, cpu, kernel, ratio;
  const double gigabytes = static_cast<double>(of.total_bytes) / 1e9;
  int looks_left = kLooksForHelpers;
  for (int i = 0; i < options.rounds; ++i) {
    const auto round = RunRound(engine, options, of, &looks_left);
    if (!round.has_value()) return std::unexpected(round.error());
    drover.push_back(gigabytes / round->drover_s);
    copy.push_back(gigabytes / round->copy_s);
    fresh.push_back(gigabytes / round->fresh_s);
    const double floor_s = of.pool == "reuse" ? round->copy_s : round->fresh_s;
    efficiency.push_back(floor_s / round->drover_s);
    copy_efficiency.push_back(round->copy_s / round->drover_s);
    cpu.push_back(round->cpu_s);
    NoteMove(*round, &row);
    if (round->kernel_s == 0) continue;
    kernel.push_back(gigabytes / round->kernel_s);
    ratio.push_back(round->kernel_s / round->drover_s);
    row.kernel = BesideKernel{.how = round->kernel_how};
  }
  const Spread speed = SpreadOf(drover), share = SpreadOf(efficiency);
  row.gb_per_s = speed.median, row.gb_per_s_min = speed.min, row.gb_per_s_max = speed.max;
  row.efficiency = share.median, row.efficiency_min = share.min, row.efficiency_max = share.max;
  row.copy_efficiency = Median(copy_efficiency);
  row.copy_floor_gb_per_s = Median(copy);
  row.fresh_floor_gb_per_s = Median(fresh);
  row.cpu_s = Median(cpu);
  if (!row.kernel.has_value()) return row;
  const Spread ratios = SpreadOf(ratio);
  row.kernel->gb_per_s = Median(kernel);
  row.kernel->ratio = ratios.median;
  row.kernel->ratio_min = ratios.min, row.kernel->ratio_max = ratios.max;
  return row;
}

// Empty: it can be measured here.
std::string WhyNot(const MigrateCase& of) {
  if (of.threads > AllowedCpus()) return fmt::format("only {} CPUs", AllowedCpus());
  if (of.total_bytes + std::min(of.total_bytes, kCopyTargetBytesMax) > FreeBytes() / 8 * 7)
    return "source and target take more than seven eighths of free memory";
  return {};
}

std::string NameOf(const MigrateCase& of) {
  return fmt::format("{} {} {} threads={} batch={} total={}", of.page, of.pool, of.migrator,
                     of.threads, report::ExactBytes(of.batch_bytes),
                     report::ExactBytes(of.total_bytes));
}

// Plain loop's time / floor's time, alternating: in many short turns, because what disturbs one of
// a few longer ones on a shared machine decides it.
double CheckFloor(int rounds) {
  constexpr size_t kTotalBytes = 16u << 20;
  constexpr int kTurnsPerRound = 16;
  std::vector<double> ratios;
  for (int i = 0; i < rounds * kTurnsPerRound; ++i) {
    Buffers buffers = MapBuffers(kTotalBytes, kTotalBytes, false);
    const double plain = PlainFreshFloor(buffers);
    UnmapBuffers(buffers);
    if (plain < 0) return 0;
    buffers = MapBuffers(kTotalBytes, kTotalBytes, false);
    ratios.push_back(plain / FreshFloor(buffers, 1));
    UnmapBuffers(buffers);
  }
  return Median(ratios);
}

// Those of the pages that the cases have, and of small ones where they are checked.
std::expected<void, Error> FindFloors(const MigrateOptions& options, MigrateReport* report) {
  const auto has_any = [&](bool huge) {
    return std::any_of(options.cases.begin(), options.cases.end(),
                       [&](const MigrateCase& of) { return (of.page == "2M") == huge; });
  };
  constexpr int kFloorsTried = 3;  // which copy is the fastest may have been misjudged
  bool is_floor = false;
  for (int tries = 0; !is_floor && tries < kFloorsTried; ++tries) {
    if (has_any(false) || options.check_floor)
      report->copy_function = "4K by " + FindFastestCopy(false);
    if (options.check_floor) report->floor_check = CheckFloor(options.rounds);
    is_floor = report->floor_check == 0 || report->floor_check >= kFloorCheckMin;
  }
  if (!is_floor)
    return std::unexpected(
        Error{Error::Kind::kFailed,
              fmt::format("the floor takes {:.2f} times as long as the plain loop: it is no floor, "
                          "and ratios against it would flatter",
                          1 / report->floor_check)});
  if (!has_any(true)) return {};
  if (!report->copy_function.empty()) report->copy_function += ", ";
  report->copy_function += "2M by " + FindFastestCopy(true);
  return {};
}

}  // namespace

std::string MigratorOf(int threads) {
  return threads == 1 ? "serial" : fmt::format("threads:{}", threads);
}

std::vector<MigrateCase> CasesOf(const std::vector<std::string>& pages,
                                 const std::vector<std::string>& pools,
                                 const std::vector<size_t>& batches_bytes,
                                 const std::vector<int>& threads,
                                 const std::vector<size_t>& totals_bytes) {
  std::vector<MigrateCase> cases;
  for (const std::string& page : pages)
    for (const std::string& pool : pools)
      for (const size_t batch_bytes : batches_bytes)
        for (const int count : threads)
          for (const size_t total_bytes : totals_bytes)
            cases.push_back({page, pool, MigratorOf(count), count, batch_bytes, total_bytes});
  return cases;
}

std::expected<MigrateReport, Error> RunMigrate(const MigrateOptions& options) {
  auto engine = Engine::Open({});
  if (!engine.has_value()) return std::unexpected(engine.error());
  if (const std::string refused = (*engine)->OwnPathRefused(); !refused.empty())
    return std::unexpected(Error{Error::Kind::kUnavailable, refused});
  MigrateReport report;
  if (const auto found = FindFloors(options, &report); !found.has_value())
    return std::unexpected(found.error());
  for (const MigrateCase& of : options.cases) {
    const std::string name = NameOf(of);
    if (const std::string reason = WhyNot(of); !reason.empty()) {
      report.skipped.push_back({name, reason});
      continue;
    }
    options.progress(name);
    auto done = RunRow(**engine, options, of);
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
