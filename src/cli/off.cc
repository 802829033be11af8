// drover off: takes the agent of one process out of work for good.
#include <fmt/format.h>

#include "cli/command.h"
#include "control/client.h"

namespace drover::cli {
namespace {

int Off(int pid, bool json) {
  const auto process = control::CheckTarget(pid);
  if (!process.has_value()) return Fail(process.error());
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value()) return Fail(marker.error());
  if (!marker->has_value())
    return Fail({Error::Kind::kUnavailable,
                 fmt::format("process {} ({}) has no agent; nothing to take out of work", pid,
                             process->name)});
  const auto state = static_cast<control::Marker::State>((*marker)->state);
  if (state != control::Marker::State::kOff && state != control::Marker::State::kPassive) {
    auto client = control::Client::Connect({*process, **marker});
    if (!client.has_value()) return Fail(client.error());
    if (const auto off = client->Off(); !off.has_value()) return Fail(off.error());
  }
  if (json) {
    auto document = JsonHead("off");
    document["pid"] = pid;
    document["agent"] = "off";
    PrintJson(document);
  } else {
    fmt::print("the agent of process {} ({}) is out of work; the kernel path can still move it\n",
               pid, process->name);
  }
  return kExitDone;
}

}  // namespace

void AddOff(CLI::App& app, Chosen& chosen) {
  auto* off = app.add_subcommand("off", "take a process's agent out of work for good");
  auto pid = std::make_shared<int>(0);
  auto json = std::make_shared<bool>(false);
  off->add_option("PID", *pid, "the process")->required()->check(CLI::PositiveNumber);
  off->add_flag("--json", *json, "one JSON document on stdout");
  off->callback([=, &chosen] { chosen.run = [=] { return Off(*pid, *json); }; });
}

}  // namespace drover::cli
