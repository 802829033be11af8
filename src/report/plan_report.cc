#include "report/plan_report.h"

#include <fmt/format.h>

#include "report/pages.h"

namespace drover::report {

nlohmann::json PlanToJson(const Plan& plan) {
  const MoveResult& result = plan.result;
  nlohmann::json needs = nlohmann::json::array();
  for (const Plan::Need& need : plan.needs)
    needs.push_back({{"node", need.node},
                     {"bytes_to_come", need.bytes_to_come},
                     {"bytes_free", need.bytes_free}});
  return {{"pages_requested", result.pages_requested},
          {"pages_to_move", result.pages_moved},
          {"pages_already_there", result.pages_already_there},
          {"pages_not_moved", result.pages_not_moved},
          {"by_path", {{"own", result.pages_by_own_path}, {"kernel", result.pages_by_kernel_path}}},
          {"pages_to_unshare", result.pages_unshared},
          {"own_path_refused", result.own_path_refused},
          {"seconds", OrNull(plan.seconds)},
          {"window_us", OrNull(plan.window_us)},
          {"unknown", plan.unknown},
          {"idle_cpus", plan.idle_cpus},
          {"nodes", needs},
          {"pool_bytes", result.pages_by_own_path > 0 ? plan.pool_bytes : 0},
          {"not_moved", NotMovedToJson(result.not_moved)}};
}

std::string PlanToTable(const Plan& plan) {
  const MoveResult& result = plan.result;
  std::string text = "A plan; nothing was touched.\n";
  const auto line = [&](const std::string& name, const std::string& value) {
    text += fmt::format("{:<18} {}\n", name, value);
  };
  line("asked for", Pages(result.pages_requested));
  line("would move", Pages(result.pages_moved));
  line("  by own path", Pages(result.pages_by_own_path));
  line("  by kernel path", Pages(result.pages_by_kernel_path));
  if (result.pages_unshared > 0)
    line("would be unshared", Pages(result.pages_unshared) + " take memory of their own then");
  line("already there", Pages(result.pages_already_there));
  line("would not move", Pages(result.pages_not_moved));
  text += NotMovedToTable(result.not_moved);
  if (!result.own_path_refused.empty()) line("own path", "not taken: " + result.own_path_refused);
  if (plan.seconds.has_value())
    line("time", fmt::format("about {:.3f} s, as fast as it goes on memory of drover's own now",
                             *plan.seconds));
  else
    line("time", "unknown: " + plan.unknown);
  if (plan.idle_cpus == 0)
    line("", "no CPU is idle: where the program's own threads keep them all busy, it takes longer");
  if (plan.window_us.has_value())
    line("stall", fmt::format("about {:.0f} us for a thread that touches what is just away",
                              *plan.window_us));
  for (const Plan::Need& need : plan.needs)
    line(fmt::format("node {}", need.node),
         fmt::format("{:.1f} MiB to come, {:.1f} MiB free there",
                     static_cast<double>(need.bytes_to_come) / (1 << 20),
                     static_cast<double>(need.bytes_free) / (1 << 20)));
  if (result.pages_by_own_path > 0)
    line("memory meanwhile",
         fmt::format("{:.1f} MiB", static_cast<double>(plan.pool_bytes) / (1 << 20)));
  return text;
}

}  // namespace drover::report
