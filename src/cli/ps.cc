// drover ps: processes with an agent.
#include <fmt/format.h>

#include "cli/command.h"
#include "control/agents.h"
#include "report/words.h"

namespace drover::cli {
namespace {

const char* StateName(const control::Marker& marker) {
  switch (static_cast<control::Marker::State>(marker.state)) {
    case control::Marker::State::kStarting:
      return "starting";
    case control::Marker::State::kServing:
      return "ready";
    case control::Marker::State::kPassive:
      return "passive";
    case control::Marker::State::kOff:
      return "off";
  }
  return "unknown";
}

int Ps(bool json) {
  const int swept = control::SweepStaleSockets();
  auto document = JsonHead("ps");
  document["stale_sockets_removed"] = swept;
  document["agents"] = nlohmann::json::array();
  if (!json) fmt::print("{:>8} {:<9} {:<8} {}\n", "PID", "AGENT", "VERSION", "COMMAND");
  for (const auto& agent : control::ListAgents()) {
    const std::string why = report::WordsOf(static_cast<flow::Trouble>(agent.marker.trouble),
                                            agent.marker.trouble_detail);
    if (json) {
      document["agents"].push_back({{"pid", agent.process.pid},
                                    {"state", StateName(agent.marker)},
                                    {"version", agent.marker.build},
                                    {"own_path_refused", why},
                                    {"command", agent.process.command}});
      continue;
    }
    fmt::print("{:>8} {:<9} {:<8} {}\n", agent.process.pid, StateName(agent.marker),
               agent.marker.build, agent.process.command);
    if (!why.empty()) fmt::print("{:>8} {}\n", "", why);
  }
  if (json) PrintJson(document);
  return kExitDone;
}

}  // namespace

void AddPs(CLI::App& app, Chosen& chosen) {
  auto* ps = app.add_subcommand("ps", "list processes that have an agent");
  auto json = std::make_shared<bool>(false);
  ps->add_flag("--json", *json, "one JSON document on stdout");
  ps->callback([=, &chosen] { chosen.run = [=] { return Ps(*json); }; });
}

}  // namespace drover::cli
