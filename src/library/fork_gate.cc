#include "library/fork_gate.h"

#include <pthread.h>

#include <atomic>
#include <mutex>

namespace drover::library {
namespace {

std::atomic<flow::Gate*> gate_of_all = nullptr;
thread_local uint32_t depth = 0;
thread_local flow::Gate* entered = nullptr;

void BeforeFork() {
  entered = gate_of_all.load();
  if (entered != nullptr) entered->Enter(&depth);
}

void AfterFork() {
  if (entered != nullptr) entered->Leave(&depth);
  entered = nullptr;
}

// The child's engine does not work: it has no threads there, and its copy of the gate may be closed
// for ever.
void AfterForkInChild() {
  gate_of_all.store(nullptr);
  entered = nullptr;
  depth = 0;
}

}  // namespace

bool OpenForkGate(flow::Gate* gate) {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(BeforeFork, AfterFork, AfterForkInChild); });
  flow::Gate* nobody = nullptr;
  return gate_of_all.compare_exchange_strong(nobody, gate);
}

void CloseForkGate(flow::Gate* gate) {
  gate_of_all.compare_exchange_strong(gate, nullptr);
}

}  // namespace drover::library
