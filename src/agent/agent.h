// The libc-facing side of the agent: what runs on the program's own threads.
//
// No stdio, no heap (but for what pthread_create allocates anyway), no lazy start inside a hook:
// everything is resolved in the constructor, and a hook that is called earlier passes straight
// through.
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
void ResolveIdentity();
void ResolveStandBack();
void ResolveFork();
void ResolveThread();

// Remembers that the program starts to use what the own path stands back from (a StandBackSet).
// Called inside the gate, or of what is not to be found by a later look; children remember it, too.
void NoteCall(uint32_t set);
// The same between two batches: one that is open already goes on, the next one knows of it.
void NoteAtTheBoundary(uint32_t set);

// Must a fork wait for the batch boundary, because the engine hears of none?
bool ForkIsGated();
// In a child that was made inside the gate.
void ForgetGate();

// ---- of a system call, by its number and arguments
bool ChangesIdentity(long number);
// An engine thread would have more rights than the program afterwards, or the call fails in a
// process with several threads.
bool NeedsAgentGone(long number, long first);
uint32_t StandBackOfCall(long number, const uint64_t* arguments);  // 0: nothing
bool CopiesMemory(long number, const uint64_t* arguments);

// The gate, where a Passage does not fit.
void EnterGate();
void LeaveGate();

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
