#include "report/move_report.h"

#include <fmt/format.h>

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

}  // namespace

nlohmann::json MoveToJson(const MoveResult& result, const Seen& seen, const std::string& migrator) {
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
            {"verify", phases.verify}}},
          {"stall_us",
           {{"count", result.stall.count},
            {"p50", result.stall.p50_us},
            {"p99", result.stall.p99_us},
            {"p999", result.stall.p999_us},
            {"max", result.stall.max_us},
            {"total_us", result.stall.total_us},
            {"preempted", result.windows_preempted}}},
          {"window_us",
           {{"count", result.window.count},
            {"p50", result.window.p50_us},
            {"p99", result.window.p99_us},
            {"max", result.window.max_us}}},
          {"windows_guarded", result.windows_guarded},
          {"by_path", {{"own", result.pages_by_own_path}, {"kernel", result.pages_by_kernel_path}}},
          {"by_migrator", {{migrator, result.pages_by_own_path}}},
          {"pages_unshared", result.pages_unshared},
          {"retry_rounds", result.retry_rounds},
          {"copy_threads", result.copy_threads},
          {"late_chunks", result.late_chunks},
          {"own_path_refused", result.own_path_refused},
          {"relocated_verified", OrNull(seen.relocated_verified)},
          {"moved_back", OrNull(seen.moved_back)},
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
  if (result.copy_threads > 1)
    line("copied by",
         fmt::format("{} threads, {} chunks late", result.copy_threads, result.late_chunks));
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
