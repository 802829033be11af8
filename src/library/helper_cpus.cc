#include "library/helper_cpus.h"

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
  constexpr std::chrono::seconds kBelieved{10};  // helpers on a CPU that is busy by now yield
  job->helper_count = 0;
  const uint32_t wanted = migrators::HelpersOf(job->Engines());
  if (wanted == 0) return;
  if (!machine_.has_value()) {
    auto machine = topology::ReadMachine();
    if (!machine.has_value()) return;  // then the caller copies alone
    machine_ = std::move(*machine);
  }
  if (idle_.empty() || Clock::now() - looked_ > kBelieved) {
    idle_ = topology::FindIdleCpus("/");
    looked_ = Clock::now();
  }
  auto cpus = topology::PlaceHelpers(*machine_, idle_, topology::AllowedCpus("/", pid),
                                     OnlyTarget(job->placement), wanted + 1);
  // The last of them is the mover's: it keeps off those of the helpers, and must not be left to
  // share one with the program.
  if (!cpus.empty()) cpus.pop_back();
  for (const int cpu : cpus) job->helper_cpus[job->helper_count++] = static_cast<int16_t>(cpu);
}

}  // namespace drover::library
