#include "report/move_report.h"

#include <fmt/format.h>

#include "report/gathered.h"
#include "report/pages.h"

namespace drover::report {

namespace {

const char* NameOf(LateWrite::Fate fate) {
  switch (fate) {
    case LateWrite::Fate::kCarriedOver:
      return "carried_over";
    case LateWrite::Fate::kGone:
      return "gone";
    default:
      return "conflict";
  }
}

nlohmann::json VerifiedToJson(const std::optional<Verified>& verified) {
  if (!verified.has_value()) return nullptr;
  nlohmann::json late = nlohmann::json::array();
  for (const LateWrite& write : verified->late_writes)
    late.push_back({{"address", fmt::format("{:#x}", write.address)},
                    {"bytes", write.bytes > 0 ? nlohmann::json(write.bytes) : nullptr},
                    {"fate", NameOf(write.fate)}});
  return {{"pages_compared", verified->pages_compared},
          {"copied_again", verified->copied_again},
          {"carried_over", verified->carried_over},
          {"conflicts", verified->conflicts},
          {"gone", verified->gone},
          {"late_writes", late}};
}

std::string VerifiedToText(const Verified& verified) {
  const uint64_t late = verified.carried_over + verified.conflicts + verified.gone;
  std::string text = fmt::format("{} compared, {} copied again, {} late writes",
                                 Pages(verified.pages_compared), verified.copied_again, late);
  for (const LateWrite& write : verified.late_writes)
    text += fmt::format("\n{:<18} {:#x}, {}: {}", "  late write", write.address,
                        write.bytes > 0 ? fmt::format("{} bytes", write.bytes) : "bytes unknown",
                        NameOf(write.fate));
  if (late > verified.late_writes.size())
    text += fmt::format("\n{:<18} and {} more", "", late - verified.late_writes.size());
  return text;
}

// Pages by who copied them; their sum is what the own path moved.
nlohmann::json ByMigratorToJson(const MoveResult& result) {
  nlohmann::json pages = nlohmann::json::object();
  for (const ByMigrator& by : result.by_migrator) pages[by.migrator] = by.pages;
  if (result.pages_by_cpu > 0) pages["cpu"] = result.pages_by_cpu;
  return pages;
}

nlohmann::json MigratorsToJson(const MoveResult& result) {
  nlohmann::json list = nlohmann::json::array();
  for (const ByMigrator& by : result.by_migrator)
    list.push_back({{"migrator", by.migrator},
                    {"pages", by.pages},
                    {"batches", by.batches},
                    {"refused", by.refused},
                    {"failed", by.failed},
                    {"late", by.late},
                    {"fallen_back", by.fallen_back}});
  return list;
}

nlohmann::json PercentilesToJson(const Percentiles& of) {
  return {{"count", of.count},  {"p50", of.p50_us}, {"p99", of.p99_us},
          {"p999", of.p999_us}, {"max", of.max_us}, {"total_us", of.total_us}};
}

nlohmann::json StallToJson(const MoveResult& result) {
  nlohmann::json stall = PercentilesToJson(result.stall);
  stall["preempted"] = result.windows_preempted;
  return stall;
}

nlohmann::json LongestToJson(const MoveResult& result) {
  nlohmann::json longest = nlohmann::json::array();
  for (const MoveResult::LongStall& stall : result.longest_stalls)
    longest.push_back({{"address", fmt::format("{:#x}", stall.address)},
                       {"us", stall.us},
                       {"phase", stall.phase}});
  return longest;
}

// "120 first touches, max 80 us; 2 gated calls, max 900 us; the mmap lock held for at most 35 us".
std::string OtherWaitsToText(const MoveResult& result) {
  return fmt::format(
      "{} first touches, max {:.0f} us; {} gated calls, max {:.0f} us; the mmap lock held for at "
      "most {:.0f} us",
      result.first_touch.count, result.first_touch.max_us, result.gate.count, result.gate.max_us,
      result.lock_hold.max_us);
}

// "412 us at 0x7f10000 (copy), ...".
std::string LongestToText(const MoveResult& result) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < result.longest_stalls.size() && i < kShown; ++i) {
    const MoveResult::LongStall& stall = result.longest_stalls[i];
    text += fmt::format("{}{:.0f} us at {:#x} ({})", i == 0 ? "" : ", ", stall.us, stall.address,
                        stall.phase);
  }
  return text;
}

nlohmann::json StallBudgetToJson(const MoveResult& result) {
  if (!result.stall_budget.has_value()) return nullptr;
  const MoveResult::StallBudget& budget = *result.stall_budget;
  return {{"max_stall_us", budget.max_stall_us},
          {"windows_over", budget.windows_over},
          {"pages_left", budget.pages_left},
          {"smallest_max_stall_us", budget.smallest_max_stall_us}};
}

// "200 us asked; 3 of 4096 windows over it, 40 more preempted; for 512 pages left 610 us would do".
std::string StallBudgetToText(const MoveResult& result) {
  const MoveResult::StallBudget& budget = *result.stall_budget;
  std::string text =
      fmt::format("{:.0f} us asked; {} of {} windows over it, {} more preempted",
                  budget.max_stall_us, budget.windows_over,
                  result.window.count - result.windows_preempted, result.windows_preempted);
  if (budget.pages_left > 0)
    text += fmt::format("; for {} left {:.0f} us would do", Pages(budget.pages_left),
                        budget.smallest_max_stall_us);
  return text;
}

// Empty: none of them.
std::string AloneToText(const MoveResult& result) {
  if (result.batches_alone == 0) return "";
  return fmt::format(", {} batches without helpers, to see whether they pay or because they do not",
                     result.batches_alone);
}

// "threads:2 1024 pages, channels:2 1000 (24 batches late), the CPU 24".
std::string ByMigratorToText(const MoveResult& result) {
  std::string text;
  const auto add = [&](const std::string& words) { text += (text.empty() ? "" : ", ") + words; };
  for (const ByMigrator& by : result.by_migrator) {
    std::string notes;
    const auto note = [&](uint64_t count, const char* what) {
      if (count > 0) notes += fmt::format("{}{} {}", notes.empty() ? "" : ", ", count, what);
    };
    note(by.refused, "batches refused");
    note(by.failed, "failed");
    note(by.late, "late");
    add(fmt::format("{} {}{}", by.migrator, Pages(by.pages),
                    notes.empty() ? "" : " (" + notes + ")"));
  }
  if (result.pages_by_cpu > 0) add("the CPU alone " + Pages(result.pages_by_cpu));
  return text;
}

bool IsPlainSerial(const MoveResult& result) {
  return result.by_migrator.size() == 1 && result.by_migrator[0].migrator == "serial";
}

}  // namespace

nlohmann::json MoveToJson(const MoveResult& result, const Seen& seen) {
  const auto& phases = result.phases_s;
  return {{"pages_requested", result.pages_requested},
          {"pages_moved", result.pages_moved},
          {"pages_already_there", result.pages_already_there},
          {"pages_gone", result.pages_gone},
          {"pages_not_moved", result.pages_not_moved},
          {"bytes_moved", result.bytes_moved()},
          {"seconds", result.seconds},
          {"gb_per_s", result.gb_per_s()},
          {"phases_s",
           {{"collect", phases.collect},
            {"prepare", phases.prepare},
            {"isolate", phases.isolate},
            {"copy", phases.copy},
            {"remap", phases.remap},
            {"release", phases.release},
            {"kernel", phases.kernel},
            {"verify", phases.verify},
            {"precopy", phases.precopy},
            {"gather", phases.gather}}},
          {"stall_us", StallToJson(result)},
          {"stall_of_reason_us", PercentilesToJson(result.stall_of_reason)},
          {"longest_stalls", LongestToJson(result)},
          {"first_touch_us", PercentilesToJson(result.first_touch)},
          {"mmap_lock_us", PercentilesToJson(result.lock_hold)},
          {"gate_us",
           {{"count", result.gate.count},
            {"total_us", result.gate.total_us},
            {"max", result.gate.max_us}}},
          {"window_us",
           {{"count", result.window.count},
            {"p50", result.window.p50_us},
            {"p99", result.window.p99_us},
            {"max", result.window.max_us}}},
          {"windows_guarded", result.windows_guarded},
          {"stall_budget", StallBudgetToJson(result)},
          {"by_path", {{"own", result.pages_by_own_path}, {"kernel", result.pages_by_kernel_path}}},
          {"by_migrator", ByMigratorToJson(result)},
          {"migrators", MigratorsToJson(result)},
          {"pages_retargeted", result.pages_retargeted},
          {"precopy", {{"pages", result.pages_precopied}, {"changed", result.pages_changed}}},
          {"copied_through", WordsOf(static_cast<flow::CopyThrough>(result.copied_through))},
          {"pages_filled_ahead", result.pages_filled_ahead},
          {"pages_reused", result.pages_reused},
          {"pages_unshared", result.pages_unshared},
          {"retry_rounds", result.retry_rounds},
          {"copy_threads", result.copy_threads},
          {"helper_cpu_s", result.helper_cpu_s},
          {"batches_alone", result.batches_alone},
          {"late_chunks", result.late_chunks},
          {"own_path_refused", result.own_path_refused},
          {"relocated_verified", OrNull(seen.relocated_verified)},
          {"moved_back", OrNull(seen.moved_back)},
          {"gathered", GatheredToJson(result.gathered)},
          {"verify", VerifiedToJson(result.verified)},
          {"interrupted", result.cancelled},
          {"not_moved", NotMovedToJson(result.not_moved)}};
}

std::string MoveToTable(const MoveResult& result, const Seen& seen) {
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value) {
    text += fmt::format("{:<18} {}\n", name, value);
  };
  line("requested", Pages(result.pages_requested));
  line("moved", Pages(result.pages_moved) +
                    (result.pages_by_kernel_path > 0
                         ? fmt::format("  ({} by the kernel path)", result.pages_by_kernel_path)
                         : ""));
  line("already there", Pages(result.pages_already_there));
  line("gone", Pages(result.pages_gone));
  line("not moved", Pages(result.pages_not_moved));
  text += NotMovedToTable(result.not_moved);
  text += GatheredToTable(result.gathered);
  if (result.pages_unshared > 0)
    line("unshared", Pages(result.pages_unshared) + ", which take memory of their own now");
  if (result.retry_rounds > 0)
    line("retried", fmt::format("{} rounds for pages that were busy", result.retry_rounds));
  if (!result.own_path_refused.empty()) line("own path", "not taken: " + result.own_path_refused);
  line("time", fmt::format("{:.3f} s, {:.2f} GB/s", result.seconds, result.gb_per_s()));
  const auto& p = result.phases_s;
  line("phases",
       fmt::format("collect {:.3f}, prepare {:.3f}, isolate {:.3f}, copy {:.3f}, remap {:.3f}, "
                   "release {:.3f}, kernel {:.3f} s",
                   p.collect, p.prepare, p.isolate, p.copy, p.remap, p.release, p.kernel));
  line("stall",
       fmt::format("{} waits, p50 {:.0f} us, p99 {:.0f} us, max {:.0f} us", result.stall.count,
                   result.stall.p50_us, result.stall.p99_us, result.stall.max_us));
  line("windows", fmt::format("{}, p50 {:.0f} us, p99 {:.0f} us, max {:.0f} us, {} preempted",
                              result.window.count, result.window.p50_us, result.window.p99_us,
                              result.window.max_us, result.windows_preempted));
  if (!result.longest_stalls.empty()) line("longest", LongestToText(result));
  if (result.lock_hold.count > 0) line("other waits", OtherWaitsToText(result));
  if (result.stall_budget.has_value()) line("stall budget", StallBudgetToText(result));
  if (!IsPlainSerial(result) && result.pages_by_own_path > 0)
    line("copied by", fmt::format("{}; {} threads, {} chunks late{}", ByMigratorToText(result),
                                  result.copy_threads, result.late_chunks, AloneToText(result)));
  if (result.pages_precopied > 0)
    line("precopied", fmt::format("{} in {:.3f} s, of which {} were changed and copied again",
                                  Pages(result.pages_precopied), p.precopy, result.pages_changed));
  if (result.pages_retargeted > 0)
    line("other targets", fmt::format("{}, because a copy engine was late with the first",
                                      Pages(result.pages_retargeted)));
  if (result.windows_guarded > 0)
    line("fork",
         fmt::format("no right to fork events: forks waited for {} windows, in which a child "
                     "made by an inline system call has no mapping",
                     result.windows_guarded));
  if (result.verified.has_value()) line("verified", VerifiedToText(*result.verified));
  if (seen.relocated_verified.has_value())
    line("seen to move", fmt::format("{:.2f} % of the moved pages have another page frame",
                                     100 * *seen.relocated_verified));
  if (seen.moved_back.has_value() && *seen.moved_back > 0)
    line("moved back",
         fmt::format("{} pages are no longer on their target (is kernel.numa_balancing on?)",
                     *seen.moved_back));
  return text;
}

}  // namespace drover::report
