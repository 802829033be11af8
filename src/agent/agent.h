// The libc-facing side of the agent: what runs on the program's own threads.
//
// No stdio, no heap, no lazy start inside a hook: everything is resolved in the constructor, and a
// hook that is called earlier passes straight through.
#pragma once

#include "agent/shared.h"

namespace drover::agent {

// The agent's state in this very process, or nullptr: none was started, it has ended, or this is a
// child that has none.
Shared* Serving();

// Ends the agent and waits until its threads are gone: before a sandbox or a user namespace.
void EndAgent();

// Hands the calling thread's identity to the engine; returns when the engine has taken it on.
void ShareIdentity();

// Resolves the functions that the hooks stand before. Called by the constructor.
void ResolveHooked();

// A passage through the gate, for the length of a call.
class Passage {
 public:
  Passage();
  ~Passage();
  Passage(const Passage&) = delete;
  Passage& operator=(const Passage&) = delete;
  Shared* shared() const { return shared_; }

 private:
  Shared* shared_;
};

}  // namespace drover::agent
