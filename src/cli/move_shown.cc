#include "cli/move_shown.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/forecast.h"
#include "cli/target_checks.h"
#include "flow/waits.h"
#include "library/result.h"
#include "report/plan_report.h"
#include "report/words.h"

namespace drover::cli {
namespace {

// Pages by path, time and window, and the memory that it takes.
report::Plan PlanOf(const MoveOptions& options, int pid, const Moved& moved) {
  const Forecast forecast = Predict(moved.job, options.migrator, moved.result);
  report::Plan plan{.result = library::ResultOf(moved.result, moved.job),
                    .seconds = forecast.seconds,
                    .window_us = forecast.window_us,
                    .unknown = forecast.unknown,
                    .idle_cpus = forecast.idle_cpus,
                    .needs = {},
                    .pool_bytes = 2 * moved.job.batch_bytes};
  for (const auto& [node, need] : MemoryNeeded(pid, Whole(moved.job, options)))
    plan.needs.push_back({node, need.bytes_to_come, need.bytes_free});
  return plan;
}

std::string EndOf(const flow::JobResult& result) {
  return result.ended_by == flow::Trouble::kNone
             ? ""
             : report::WordsOf(result.ended_by, result.ended_detail);
}

int ShowPlan(const MoveOptions& options, const Row& row) {
  const Moved& plan = *row.moved;
  if (const std::string end = EndOf(plan.result); !end.empty()) {
    fmt::print(stderr, "drover: {}\n", end);
    return ExitCodeOf(plan.result);
  }
  const report::Plan shown = PlanOf(options, row.process.pid, plan);
  if (options.json) {
    auto document = JsonHead(options.command);
    document["pid"] = row.process.pid;
    document["dry_run"] = true;
    document.update(report::PlanToJson(shown));
    PrintJson(document);
  } else {
    fmt::print("{}", report::PlanToTable(shown));
  }
  return ExitCodeOf(plan.result);
}

// Those that come and go by themselves are no error of the job's.
int CodeOf(const Row& row) {
  const int code =
      row.moved.has_value() ? ExitCodeOf(row.moved->result) : ExitCodeOf(row.moved.error().kind);
  return code == kExitTargetGone && !row.named ? kExitDone : code;
}

// The worst of all; what the job as a whole came to.
int CodeOf(const std::vector<Row>& rows, bool cut_short) {
  if (cut_short) return kExitInterrupted;
  const auto any = [&](int code) {
    return std::any_of(rows.begin(), rows.end(),
                       [&](const Row& row) { return CodeOf(row) == code; });
  };
  for (const int code : {kExitInterrupted, kExitFailed, kExitUsage, kExitNotPermitted,
                         kExitUnavailable, kExitTargetGone, kExitNotAllMoved})
    if (any(code)) return code;
  // Nobody was left to be moved.
  const bool some =
      std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.moved.has_value(); });
  return some ? kExitDone : kExitTargetGone;
}

// What one process did beside those before it. The engines are those of every job.
void Add(const flow::JobResult& part, flow::JobResult* sum) {
  sum->pages_requested += part.pages_requested;
  sum->pages_moved += part.pages_moved;
  sum->pages_already_there += part.pages_already_there;
  sum->pages_gone += part.pages_gone;
  sum->pages_not_moved += part.pages_not_moved;
  sum->moved_own_path += part.moved_own_path;
  sum->moved_kernel_path += part.moved_kernel_path;
  sum->moved_huge += part.moved_huge;
  sum->wall_ns += part.wall_ns;
  sum->stalls.AddAll(part.stalls);
  sum->windows.AddAll(part.windows);
  sum->first_touch_waits.AddAll(part.first_touch_waits);
  sum->lock_holds.AddAll(part.lock_holds);
  sum->stalls_of_reason.AddAll(part.stalls_of_reason);
  sum->gate_waits.count += part.gate_waits.count;
  sum->gate_waits.total_ns += part.gate_waits.total_ns;
  sum->gate_waits.max_ns = std::max(sum->gate_waits.max_ns, part.gate_waits.max_ns);
  for (uint32_t i = 0; i < std::min(part.long_wait_count, flow::kLongWaitsNamed); ++i)
    flow::NoteLongWait(part.long_waits[i], sum);
  sum->windows_preempted += part.windows_preempted;
  sum->windows_over_budget += part.windows_over_budget;
  sum->smallest_budget_ns = std::max(sum->smallest_budget_ns, part.smallest_budget_ns);
  sum->windows_guarded += part.windows_guarded;
  sum->rounds += part.rounds;
  sum->pages_unshared += part.pages_unshared;
  sum->pages_by_cpu += part.pages_by_cpu;
  sum->pages_filled_ahead += part.pages_filled_ahead;
  sum->pages_reused += part.pages_reused;
  sum->pages_gathered += part.pages_gathered;
  for (uint32_t i = 0; i < flow::kWhySmallCount; ++i) sum->slots_small[i] += part.slots_small[i];
  sum->smallest_gather_budget_ns =
      std::max(sum->smallest_gather_budget_ns, part.smallest_gather_budget_ns);
  sum->pages_precopied += part.pages_precopied;
  sum->pages_changed += part.pages_changed;
  sum->pages_retargeted += part.pages_retargeted;
  sum->copy_threads = std::max(sum->copy_threads, part.copy_threads);
  sum->helper_cpu_ns += part.helper_cpu_ns;
  sum->batches_alone += part.batches_alone;
  sum->late_chunks += part.late_chunks;
  sum->pages_compared += part.pages_compared;
  sum->copied_again += part.copied_again;
  for (uint32_t i = 0; i < flow::kWhyCount; ++i) sum->not_moved_why[i] += part.not_moved_why[i];
  for (uint32_t i = 0; i < flow::kPhaseCount; ++i) sum->phase_ns[i] += part.phase_ns[i];
  for (uint32_t i = 0; i < migrators::kKindCount; ++i)
    sum->engines[i] = sum->engines[i] + part.engines[i];
  for (uint32_t i = 0; i < flow::kLateFateCount; ++i) sum->late_writes[i] += part.late_writes[i];
  for (uint32_t i = 0; i < std::min(part.late_named, flow::kLateWritesNamed); ++i)
    if (sum->late_named < flow::kLateWritesNamed) sum->late[sum->late_named++] = part.late[i];
}

report::ProcessRow RowOf(const Row& row) {
  report::ProcessRow shown{.pid = row.process.pid,
                           .name = row.process.name,
                           .result = {},
                           .error = {},
                           .exit_code = CodeOf(row)};
  if (!row.moved.has_value()) {
    shown.error = row.moved.error().message;
    return shown;
  }
  shown.result = library::ResultOf(row.moved->result, row.moved->job);
  shown.seen = row.moved->seen;
  shown.error = EndOf(row.moved->result);
  return shown;
}

int ShowPlans(const MoveOptions& options, const std::vector<Row>& rows, bool cut_short) {
  auto document = JsonHead(options.command);
  document["dry_run"] = true;
  document["processes"] = nlohmann::json::array();
  for (const Row& row : rows) {
    const report::ProcessRow head = RowOf(row);
    nlohmann::json process = {{"pid", head.pid}, {"name", head.name}, {"error", nullptr}};
    if (!head.error.empty()) process["error"] = head.error;
    std::string text = fmt::format("{} ({})\n{}{}", head.pid, head.name, head.error,
                                   head.error.empty() ? "" : "\n");
    if (row.moved.has_value()) {
      const report::Plan plan = PlanOf(options, head.pid, *row.moved);
      process.update(report::PlanToJson(plan));
      text += report::PlanToTable(plan);
    }
    document["processes"].push_back(process);
    if (!options.json) fmt::print("{}\n", text);
  }
  if (options.json) PrintJson(document);
  return CodeOf(rows, cut_short);
}

}  // namespace

int ShowOne(const MoveOptions& options, const Row& row) {
  if (!row.moved.has_value()) return Fail(row.moved.error());
  if (options.dry_run) return ShowPlan(options, row);
  const MoveResult shown = library::ResultOf(row.moved->result, row.moved->job);
  if (options.json) {
    auto document = JsonHead(options.command);
    document["pid"] = row.process.pid;
    document.update(report::MoveToJson(shown, row.moved->seen));
    PrintJson(document);
  } else {
    fmt::print("{}", report::MoveToTable(shown, row.moved->seen));
  }
  if (const std::string end = EndOf(row.moved->result); !end.empty())
    fmt::print(stderr, "drover: {}\n", end);
  return WarnOfLostWrites(shown) ? kExitFailed : ExitCodeOf(row.moved->result);
}

int ShowSeveral(const MoveOptions& options, const std::vector<Row>& rows, bool cut_short) {
  if (options.dry_run) return ShowPlans(options, rows, cut_short);
  flow::JobResult sum;
  flow::Job job;
  std::vector<report::ProcessRow> shown;
  for (const Row& row : rows) {
    shown.push_back(RowOf(row));
    if (!row.moved.has_value()) continue;
    Add(row.moved->result, &sum);
    job = row.moved->job;
  }
  const int code = CodeOf(rows, cut_short);
  if (code == kExitInterrupted) sum.ended_by = flow::Trouble::kCancelled;
  const MoveResult together = library::ResultOf(sum, job);
  if (options.json) {
    auto document = JsonHead(options.command);
    document.update(report::JobToJson(shown, together));
    PrintJson(document);
  } else {
    fmt::print("{}", report::JobToTable(shown, together));
  }
  if (code == kExitInterrupted)
    fmt::print(stderr, "drover: {}\n", report::WordsOf(flow::Trouble::kCancelled, 0));
  if (WarnOfLostWrites(together)) return kExitFailed;
  if (code == kExitTargetGone)
    fmt::print(stderr, "drover: of {} processes some, or all, have ended before their turn\n",
               rows.size());
  return code;
}

}  // namespace drover::cli
