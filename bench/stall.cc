#include "stall.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "floor.h"
#include "kernel/types.h"
#include "kernel_side.h"
#include "measure.h"
#include "probe.h"

namespace drover::bench {
namespace {

constexpr double kStalledFromUs = 1;  // no fault takes less
constexpr std::chrono::milliseconds kWarmUp{50};
// How long side none is, where there is no move beside it.
constexpr double kAloneSeconds = 1;

// All rounds of one row.
struct Account {
  StallRow row;
  Times all, stalled;
  std::vector<double> drover_p50, drover_p99, gb_per_s;
};

// Windows by the pages that they were open on.
class WindowsByPage {
 public:
  WindowsByPage(const std::vector<Window>& windows, const char* memory, size_t bytes)
      : windows_(windows), of_page_(bytes / kPageBytes) {
    for (uint32_t k = 0; k < windows.size(); ++k) {
      const auto* const start = static_cast<const char*>(windows[k].range.start);
      if (start < memory || start >= memory + bytes) continue;
      const auto first = static_cast<size_t>(start - memory) / kPageBytes;
      const size_t end =
          std::min(first + windows[k].range.length_bytes / kPageBytes, of_page_.size());
      for (size_t page = first; page < end; ++page) of_page_[page].push_back(k);
    }
  }
  bool IsStalled(const LongAccess& access) const {
    const auto& of_page = of_page_[access.page];
    return std::any_of(of_page.begin(), of_page.end(), [&](uint32_t k) {
      return access.begin < windows_[k].closed_tsc && access.end > windows_[k].opened_tsc;
    });
  }

 private:
  const std::vector<Window>& windows_;
  std::vector<std::vector<uint32_t>> of_page_;
};

void CountAccesses(const Probe& probe, const std::vector<Window>& windows, const Buffers& memory,
                   double cycles_per_us, Account* account) {
  account->all.Add(probe.times());
  account->row.wrong_words += probe.wrong_words();
  const WindowsByPage by_page(windows, memory.source, memory.source_bytes);
  for (const LongAccess& access : probe.long_accesses()) {
    const uint64_t cycles = access.end - access.begin;
    if (by_page.IsStalled(access))
      account->stalled.Add(cycles);
    else if (static_cast<double>(cycles) > kLongUs * cycles_per_us)
      ++account->row.unexplained;
  }
}

void CountMove(const MoveResult& result, double seconds, Account* account) {
  StallRow& row = account->row;
  account->drover_p50.push_back(result.stall.p50_us);
  account->drover_p99.push_back(result.stall.p99_us);
  account->gb_per_s.push_back(static_cast<double>(result.bytes_moved()) / 1e9 / seconds);
  row.drover_max_us = std::max(row.drover_max_us, result.stall.max_us);
  row.waits += result.stall.count;
  row.windows += result.window.count;
  row.windows_preempted += result.windows_preempted;
  if (!result.stall_budget.has_value()) return;
  row.windows_over_budget += result.stall_budget->windows_over;
  row.over_budget_pages += result.stall_budget->pages_left;
  row.smallest_max_stall_us =
      std::max(row.smallest_max_stall_us, result.stall_budget->smallest_max_stall_us);
}

// What happens to the memory while the probe runs. Returns the seconds that it took.
class Mover {
 public:
  Mover(Engine& engine, const StallOptions& options) : engine_(engine), options_(options) {}

  std::expected<double, Error> Move(const Buffers& memory, double alone_seconds, Account* account) {
    const std::string& side = account->row.side;
    if (side == "drover") return ByDrover(memory, account);
    if (side == "kernel") return ByKernel(memory, account);
    std::this_thread::sleep_for(std::chrono::duration<double>(alone_seconds));
    return alone_seconds;
  }
  const std::vector<Window>& windows() const { return windows_; }

 private:
  std::expected<double, Error> ByDrover(const Buffers& memory, Account* account) {
    MoveRequest request;
    request.ranges = {{memory.source, memory.source_bytes}};
    request.max_stall_us = account->row.max_stall_us;
    request.over_budget = options_.over_budget;
    request.precopy = options_.precopy;
    request.migrator = options_.migrator;
    request.window = [&](const Window& window) { windows_.push_back(window); };
    const double begin = Now();
    const auto moved = engine_.Move(request);
    const double seconds = Now() - begin;
    if (!moved.has_value()) return std::unexpected(moved.error());
    if (moved->pages_moved == 0 && !moved->own_path_refused.empty())
      return std::unexpected(Error{Error::Kind::kUnavailable, moved->own_path_refused});
    CountMove(*moved, seconds, account);
    return seconds;
  }
  static std::expected<double, Error> ByKernel(const Buffers& memory, Account* account) {
    const double begin = Now();
    const auto moved = MoveByKernel(memory, account->row.page == "2M");
    const double seconds = Now() - begin;
    if (!moved.has_value()) return std::unexpected(moved.error());
    account->row.how = moved->how;
    account->gb_per_s.push_back(static_cast<double>(moved->bytes) / 1e9 / seconds);
    return seconds;
  }

  Engine& engine_;
  const StallOptions& options_;
  std::vector<Window> windows_;
};

std::expected<double, Error> RunRound(Engine& engine, const StallOptions& options,
                                      double alone_seconds, double cycles_per_us,
                                      Account* account) {
  StallRow& row = account->row;
  const Buffers memory = MapBuffers(options.total_bytes, kHugeBytes, row.page == "2M");
  if (memory.source == nullptr || memory.target == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the probe"});
  FillForProbe(memory.source, memory.source_bytes);
  std::expected<double, Error> seconds;
  {
    Mover mover(engine, options);
    Probe probe(memory.source, memory.source_bytes, options.probe_threads,
                static_cast<uint64_t>(kStalledFromUs * cycles_per_us));
    std::this_thread::sleep_for(kWarmUp);
    seconds = mover.Move(memory, alone_seconds, account);
    probe.Stop();
    if (seconds.has_value()) CountAccesses(probe, mover.windows(), memory, cycles_per_us, account);
  }
  UnmapBuffers(memory);
  if (seconds.has_value()) row.seconds += *seconds;
  return seconds;
}

StallRow Finish(Account& account, double cycles_per_us) {
  StallRow& row = account.row;
  const auto us = [&](uint64_t cycles) { return static_cast<double>(cycles) / cycles_per_us; };
  row.accesses = account.all.count();
  row.stalled = account.stalled.count();
  row.probe_p50_us = us(account.all.Quantile(0.5));
  row.probe_p99_us = us(account.all.Quantile(0.99));
  row.probe_p999_us = us(account.all.Quantile(0.999));
  row.probe_max_us = us(account.all.max());
  for (double rarer = 2; rarer <= static_cast<double>(row.accesses); rarer *= 2)
    row.probe_tail_us.push_back(us(account.all.Quantile(1 - 1 / rarer)));
  row.probe_stalled_p50_us = us(account.stalled.Quantile(0.5));
  row.probe_stalled_p99_us = us(account.stalled.Quantile(0.99));
  if (!account.gb_per_s.empty()) row.gb_per_s = Median(account.gb_per_s);
  if (account.drover_p50.empty()) return row;
  row.drover_p50_us = Median(account.drover_p50);
  row.drover_p99_us = Median(account.drover_p99);
  return row;
}

}  // namespace

std::expected<StallReport, Error> RunStall(
    const StallOptions& options, const std::function<void(const std::string&)>& progress) {
  auto engine = Engine::Open({});
  if (!engine.has_value()) return std::unexpected(engine.error());
  if (const std::string refused = (*engine)->OwnPathRefused(); !refused.empty())
    return std::unexpected(Error{Error::Kind::kUnavailable, refused});
  const double cycles_per_us = CyclesPerUs();
  StallReport report;
  for (const std::string& page : options.pages)
    for (const double max_stall_us : options.max_stalls_us) {
      std::vector<std::unique_ptr<Account>> accounts;
      for (const std::string& side : options.sides) {
        accounts.push_back(std::make_unique<Account>());
        StallRow& row = accounts.back()->row;
        row.side = side, row.page = page, row.max_stall_us = max_stall_us;
        row.probe_threads = options.probe_threads, row.rounds = options.rounds;
      }
      const std::string name = fmt::format("{} pages, {:.0f} us", page, max_stall_us);
      progress(name);
      double seconds = kAloneSeconds;
      for (int round = 0; round < options.rounds; ++round)
        for (auto it = accounts.begin(); it != accounts.end();) {
          const auto took = RunRound(**engine, options, seconds, cycles_per_us, it->get());
          if (!took.has_value() && took.error().kind != Error::Kind::kUnavailable)
            return std::unexpected(took.error());
          if (!took.has_value()) {
            report.skipped.push_back({name + ", side " + (*it)->row.side, took.error().message});
            it = accounts.erase(it);
            continue;
          }
          seconds = *took;
          ++it;
        }
      for (const auto& account : accounts) report.rows.push_back(Finish(*account, cycles_per_us));
    }
  return report;
}

}  // namespace drover::bench
