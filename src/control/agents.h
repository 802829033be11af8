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
  int parent = 0;
  char state = '?';
  bool kernel_thread = false;
  unsigned user = 0;
  uint64_t start_time_ticks = 0;
  uint64_t stack_start = 0;  // another one after each execve; 0 where it may not be looked at
  std::string name;
  std::string command;  // the command line, or [name]
};

// nullopt: there is no such process.
std::optional<ProcessInfo> ReadProcess(int pid);

// Every process that /proc shows, kernel threads and zombies too; in no order.
std::vector<ProcessInfo> ListProcesses();

// What a process that was looked at before is now.
enum class Still { kSame, kOtherProgram, kGone };
Still LookAgain(const ProcessInfo& process);
// What to tell of one that is not the same any more.
Error NotTheSame(const ProcessInfo& process);

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
