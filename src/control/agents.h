// Finding agents from outside.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "control/protocol.h"
#include "drover/engine.h"

namespace drover::control {

// A process as /proc shows it.
struct ProcessInfo {
  int pid = 0;
  char state = '?';
  bool kernel_thread = false;
  unsigned user = 0;
  uint64_t start_time_ticks = 0;
  std::string name;
  std::string command;  // the command line, or [name]
};

// nullopt: there is no such process.
std::optional<ProcessInfo> ReadProcess(int pid);

// The process that a command names, checked: it exists, lives, has memory and may be looked at.
[[nodiscard]] std::expected<ProcessInfo, Error> CheckTarget(int pid);

// The agent's marker in the process; nullopt: it has none. Errors: no permission to look.
[[nodiscard]] std::expected<std::optional<Marker>, Error> FindMarker(const ProcessInfo& process);

// The same, and waits shortly while the agent is still starting.
[[nodiscard]] std::expected<std::optional<Marker>, Error> FindServingMarker(
    const ProcessInfo& process);

// Every process that has a marker and may be looked at.
struct AgentInfo {
  ProcessInfo process;
  Marker marker;
};
std::vector<AgentInfo> ListAgents();

// Removes sockets of processes that are gone from the folders that this user may clean.
int SweepStaleSockets();

}  // namespace drover::control
