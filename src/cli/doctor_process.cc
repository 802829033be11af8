#include "cli/doctor_process.h"

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/kernel_mover.h"
#include "control/agents.h"
#include "control/client.h"
#include "flow/own_path.h"
#include "flow/stand_back.h"
#include "kernel/linux_kernel.h"
#include "library/result.h"
#include "report/pages.h"
#include "report/words.h"
#include "topology/nodes.h"

namespace drover::cli {
namespace {

using control::Marker;
using flow::Trouble;

struct Reason {
  std::string seen, lift;
};

struct Diagnosis {
  std::string agent;            // in words
  std::vector<Reason> reasons;  // why not the own path; empty: it takes it
  std::string forks;            // what a fork meets while memory moves
  std::string kernel;
  std::optional<flow::JobResult> plan;  // of all its private memory, as its agent sees it
};

Reason ReasonOf(Trouble trouble, uint32_t detail) {
  const std::string words = report::WordsOf(trouble, detail);
  const size_t cut = words.rfind("; ");  // the way out stands behind the last semicolon
  if (cut == std::string::npos) return {words, "none"};
  return {words.substr(0, cut), words.substr(cut + 2)};
}

void AddStandBack(int pid, const Marker* marker, Diagnosis& diagnosis) {
  kernel::LinuxKernel kernel;
  if (kernel.OpenProcess(pid) != kernel::Errno::kOk) return;
  const bool serves =
      marker != nullptr && static_cast<Marker::State>(marker->state) == Marker::State::kServing;
  flow::StandBackSet set =
      flow::LookAt({.kernel = kernel, .pid = pid, .own_threads = serves ? 1u : 0u});
  kernel.Close();
  if (marker != nullptr) set |= marker->seen_calls & flow::kSeenForGood;
  for (uint32_t i = 0; i < static_cast<uint32_t>(flow::StandBackFrom::kCount); ++i) {
    const auto from = static_cast<flow::StandBackFrom>(i);
    if ((set & flow::SetOf(from)) == 0) continue;
    const auto words = report::WordsOf(from);
    diagnosis.reasons.push_back({words.seen, words.lift});
  }
}

flow::Job PlanOfAll() {
  flow::Job job;
  job.plan_only = true;
  job.placement.same = true;
  job.placement.node_count = topology::ReadNodes("/").id_limit();
  return job;
}

// Asks the agent itself: it knows which memory is its own.
void AskAgent(const control::ProcessInfo& process, const Marker& marker, Diagnosis& diagnosis) {
  auto client = control::Client::Connect({process, marker});
  if (!client.has_value()) {
    diagnosis.agent = "has one, which " + client.error().message;
    diagnosis.reasons.push_back({client.error().message, "try again"});
    return;
  }
  const control::Hello& hello = client->hello();
  diagnosis.agent = fmt::format("ready, version {}", marker.build);
  // As `drover move` would.
  if (hello.has_userfault == 0 && hello.trouble == 0 && geteuid() == 0) client->GrantRights();
  if (hello.trouble != 0)
    diagnosis.reasons.push_back(
        ReasonOf(static_cast<Trouble>(hello.trouble), hello.trouble_detail));
  if (hello.has_userfault == 0 && hello.trouble == 0) {
    diagnosis.reasons.push_back(ReasonOf(Trouble::kNoRights, 0));
  } else if (hello.has_userfault != 0) {
    diagnosis.forks = hello.fork_events != 0
                          ? "the engine hears of them"
                          : "wait for the batch boundary (no right to fork events)";
  }
  control::Steering steering;
  const auto plan = client->Move(PlanOfAll(), -1, steering, [](const control::Progress&) {});
  if (!plan.has_value()) {
    diagnosis.reasons.push_back({plan.error().message, "try again"});
    return;
  }
  diagnosis.plan = *plan;
  // What only the agent's own look finds (its self-test, say).
  if (diagnosis.reasons.empty() && plan->own_path_trouble != Trouble::kNone)
    diagnosis.reasons.push_back(ReasonOf(plan->own_path_trouble, plan->own_path_detail));
}

std::expected<Diagnosis, Error> Diagnose(const control::ProcessInfo& process) {
  Diagnosis diagnosis;
  kernel::LinuxKernel kernel;
  const flow::KernelVersion version = flow::ReadVersion(kernel);
  const flow::KernelRow& row = flow::RowOf(version);
  diagnosis.kernel =
      fmt::format("{}.{}.{}: {}", version.major, version.minor, version.patch, row.origin);
  const auto marker = control::FindServingMarker(process);
  if (!marker.has_value()) return std::unexpected(marker.error());
  AddStandBack(process.pid, marker->has_value() ? &**marker : nullptr, diagnosis);
  if (!marker->has_value()) {
    diagnosis.agent = "none";
    diagnosis.reasons.insert(diagnosis.reasons.begin(), ReasonOf(Trouble::kNoAgent, 0));
  } else if (static_cast<Marker::State>((*marker)->state) == Marker::State::kServing) {
    AskAgent(process, **marker, diagnosis);
  } else {
    const bool passive = static_cast<Marker::State>((*marker)->state) == Marker::State::kPassive;
    diagnosis.agent = passive ? "passive" : "off";
    diagnosis.reasons.insert(
        diagnosis.reasons.begin(),
        ReasonOf(passive ? static_cast<Trouble>((*marker)->trouble) : Trouble::kAgentEnded,
                 (*marker)->trouble_detail));
  }
  if (!diagnosis.plan.has_value()) {
    control::Steering steering;
    flow::JobResult preset;
    const auto plan = MoveFromOutside(process, PlanOfAll(), preset, -1, steering,
                                      [](const control::Progress&) {});
    if (!plan.has_value()) return std::unexpected(plan.error());
    diagnosis.plan = *plan;
  }
  return diagnosis;
}

nlohmann::json ToJson(const Diagnosis& diagnosis, const MoveResult& plan) {
  nlohmann::json reasons = nlohmann::json::array();
  for (const Reason& reason : diagnosis.reasons)
    reasons.push_back({{"seen", reason.seen}, {"lift", reason.lift}});
  return {{"agent", diagnosis.agent},
          {"own_path", diagnosis.reasons.empty()},
          {"reasons", reasons},
          {"kernel", diagnosis.kernel},
          {"forks", diagnosis.forks},
          {"pages", plan.pages_requested},
          {"pages_own_path", plan.pages_by_own_path},
          {"pages_kernel_path_or_none", report::NotMovedToJson(plan.not_moved)}};
}

}  // namespace

int DoctorProcess(int pid, bool json) {
  const auto process = control::CheckTarget(pid);
  if (!process.has_value()) return Fail(process.error());
  const auto diagnosis = Diagnose(*process);
  if (!diagnosis.has_value()) return Fail(diagnosis.error());
  const MoveResult plan = library::ResultOf(*diagnosis->plan, flow::Job());
  if (json) {
    auto document = JsonHead("doctor");
    document["pid"] = pid;
    document["name"] = process->name;
    document.update(ToJson(*diagnosis, plan));
    PrintJson(document);
    return kExitDone;
  }
  fmt::print("process {} ({})\n", pid, process->command);
  fmt::print("{:<14} {}\n", "agent", diagnosis->agent);
  fmt::print("{:<14} {}\n", "kernel", diagnosis->kernel);
  if (!diagnosis->forks.empty()) fmt::print("{:<14} {}\n", "forks", diagnosis->forks);
  fmt::print("{:<14} {}\n", "own path",
             diagnosis->reasons.empty() ? "would be taken" : "would not be taken:");
  for (const Reason& reason : diagnosis->reasons)
    fmt::print("{:14} - {}\n{:14}   lifted by: {}\n", "", reason.seen, "", reason.lift);
  fmt::print("{:<14} {}\n", "memory", report::Pages(plan.pages_requested));
  fmt::print("{:<14} {}\n", "  own path", report::Pages(plan.pages_by_own_path));
  fmt::print("{:<14} {}\n", "  else", report::Pages(plan.pages_not_moved));
  fmt::print("{}", report::NotMovedToTable(plan.not_moved));
  return kExitDone;
}

}  // namespace drover::cli
