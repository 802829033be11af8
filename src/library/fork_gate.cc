#include "library/fork_gate.h"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <new>

namespace drover::library {
namespace {

constinit flow::Gate gate;
std::atomic<bool> in_use = false;
thread_local uint32_t depth = 0;

void BeforeFork() {
  if (in_use.load()) gate.Enter(&depth);
}

void AfterFork() {
  gate.Leave(&depth);
}

// The child's engine does not work: it has no threads there, and its copy of the gate may be closed
// for ever.
void AfterForkInChild() {
  new (&gate) flow::Gate();
  in_use.store(false);
  depth = 0;
}

}  // namespace

flow::Gate* OpenForkGate() {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(BeforeFork, AfterFork, AfterForkInChild); });
  return in_use.exchange(true) ? nullptr : &gate;
}

void CloseForkGate() {
  in_use.store(false);
}

}  // namespace drover::library
