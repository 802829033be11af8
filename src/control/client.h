// The command line's side of a talk with one agent.
#pragma once

#include <functional>

#include "control/agents.h"
#include "control/steering.h"

namespace drover::control {

class Client {
 public:
  // To have a caller's part, or, also while another caller has a job, to ask for Migrators alone.
  enum class As { kCaller, kVisitor };

  // Connects, checks that the other side is really this process, and hears its Hello.
  [[nodiscard]] static std::expected<Client, Error> Connect(const AgentInfo& agent,
                                                            As as = As::kCaller);
  ~Client();
  Client(Client&& other) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const Hello& hello() const { return hello_; }

  // Root only: hands over descriptors and makes the handshake that the agent may not make itself.
  // Without success the agent simply stays without the right.
  void GrantRights();

  // Runs a job. `records` is a memfd for the pages' fates, or -1. `steering` is looked at fifty
  // times a second; a job that is cancelled stops at a batch boundary, and its result comes all the
  // same.
  [[nodiscard]] std::expected<flow::JobResult, Error> Move(
      const flow::Job& job, int records, Steering& steering,
      const std::function<void(const control::Progress&)>& progress);

  // Looks at the copy engines, or sets one of them. As a visitor, once.
  [[nodiscard]] std::expected<MigratorList, Error> Migrators(const MigratorsRequest& request);

  // Takes the agent out of work and waits until it has gone.
  [[nodiscard]] std::expected<void, Error> Off();

 private:
  // `for_a_moment`: it failed because of somebody who will soon be gone.
  static std::expected<Client, Error> TryToConnect(const AgentInfo& agent, As as,
                                                   bool* for_a_moment);
  explicit Client(const AgentInfo& agent) : agent_(agent) {}
  bool Send(const void* message, size_t bytes, const std::vector<int>& descriptors);
  // Length of the next message, 0 when the agent has gone, -1 when none came in time.
  ssize_t Receive(void* message, size_t room, int* descriptor, int timeout_ms);
  Error Lost() const;
  Error Silent() const;

  AgentInfo agent_;
  int socket_ = -1;
  Hello hello_;
};

}  // namespace drover::control
