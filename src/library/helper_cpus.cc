#include "library/helper_cpus.h"

#include <algorithm>

namespace drover::library {
namespace {

// The node that all pages go to; -1: there is no such one.
int OnlyTarget(const flow::Placement& placement) {
  int node = -1;
  if (placement.same || placement.spread_count > 0) return node;
  for (uint32_t source = 0; source < placement.node_count; ++source)
    if (placement.target_of[source] >= 0) node = placement.target_of[source];
  return node;
}

}  // namespace

void HelperCpus::Place(flow::Job* job, int pid) {
  // Helpers on a CPU that is busy by now yield; others may be idle a moment later.
  constexpr std::chrono::seconds kBelieved{10}, kFewBelieved{1};
  job->helper_count = 0;
  const uint32_t wanted = migrators::HelpersOf(job->Engines());
  if (wanted == 0) return;
  if (!machine_.has_value()) {
    auto machine = topology::ReadMachine();
    if (!machine.has_value()) return;  // then the caller copies alone
    machine_ = std::move(*machine);
  }
  const auto allowed = topology::AllowedCpus(root_, pid);
  const int node = OnlyTarget(job->placement);
  const auto place = [&] {
    return topology::PlaceHelpers(*machine_, idle_, allowed, node, wanted + 1);
  };
  auto cpus = place();
  const bool enough = cpus.size() >= std::min<size_t>(wanted + 1, allowed.size());
  if (!looked_.has_value() || Clock::now() - *looked_ > (enough ? kBelieved : kFewBelieved)) {
    idle_ = topology::FindIdleCpus(root_);
    looked_ = Clock::now();
    cpus = place();
  }
  // The last of them is the mover's: it keeps off those of the helpers, and must not be left to
  // share one with the program.
  if (!cpus.empty()) cpus.pop_back();
  for (const int cpu : cpus) job->helper_cpus[job->helper_count++] = static_cast<int16_t>(cpu);
}

}  // namespace drover::library
