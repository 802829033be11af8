// The copy engines and the fault thread of one job.
#pragma once

#include "flow/engine.h"
#include "flow/kernel_crew.h"
#include "migrators/engine_set.h"

namespace drover::flow {

// Large: it stands in the engine's memory. Mover thread.
class Crew {
 public:
  // Starts what the job wants, unless it is only a plan.
  Crew(Engine& engine, const Job& job);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // All threads anew, after the mover's identity has changed.
  void Restart();

 private:
  void Start();
  void StartOwnPath();
  void Stop();
  void StopOwnPath();
  void LetGoOf(Holder& holder);
  void CountPluginsCpu(bool begin);

  Engine& engine_;
  const Job& job_;
  bool running_ = false;  // of the own path
  KernelCrew kernel_crew_;
  migrators::EngineSet engines_;
  uint64_t plugin_cpu_ns_[migrators::kPluginsMax] = {};  // at the start
  uint64_t plugins_used_ns_ = 0;
};

}  // namespace drover::flow
