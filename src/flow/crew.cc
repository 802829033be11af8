#include "flow/crew.h"

#include "flow/background.h"
#include "flow/events.h"
#include "flow/table.h"

namespace drover::flow {

Crew::Crew(Engine& engine, const Job& job)
    : engine_(engine),
      job_(job),
      kernel_crew_(engine),
      engines_(engine.copy, engine.kernel, engine.threads) {
  engine.kernel_crew = &kernel_crew_;
  if (!job.plan_only) Start();
}

Crew::~Crew() {
  Stop();
  engine_.kernel_crew = nullptr;
}

void Crew::Restart() {
  if (job_.plan_only) return;
  Stop();
  Start();
}

void Crew::Start() {
  if (job_.own_path) StartOwnPath();
  kernel_crew_.Start();
}

void Crew::StartOwnPath() {
  engine_.fault_thread_stops.store(false, std::memory_order_relaxed);
  if (engine_.threads.Start(FaultThread, &engine_) != kernel::Errno::kOk) {
    engine_.result->own_path_trouble = Trouble::kNoThreads;
    return;
  }
  running_ = true;
  const std::span cpus(job_.helper_cpus, job_.helper_count);
  // Fewer helpers than asked for are no trouble: the mover copies what they do not.
  if (engine_.background != nullptr) engine_.background->Begin();
  const uint32_t helpers = engines_.Start(job_.Engines(), cpus, engine_.background);
  engine_.result->copy_threads = 1 + helpers;
  if (engine_.background != nullptr && helpers == 0) engine_.background->Stop();
  engine_.kernel.KeepOff(cpus);
  for (uint32_t i = 0; i < engines_.size(); ++i) {
    Slot& slot = engine_.slots[engine_.slot_count++];
    slot.holder = {.engine = engines_[i], .kind = job_.engines[i].kind};
    slot.terms = job_.terms[i];
  }
  CountPluginsCpu(true);
}

void Crew::Stop() {
  kernel_crew_.Stop();
  if (running_)
    StopOwnPath();
  else
    engine_.threads.JoinAll();
  JobResult& result = *engine_.result;
  result.helper_cpu_ns = engines_.cpu_ns() + plugins_used_ns_ + kernel_crew_.cpu_ns();
}

void Crew::StopOwnPath() {
  if (engine_.background != nullptr) engine_.background->Stop();
  StopFaultThread(engine_);
  engine_.kernel.KeepOff({});
  engines_.Stop();
  engine_.threads.JoinAll();
  engines_.LetGo();
  engine_.result->late_chunks = engines_.late_chunks();
  CountPluginsCpu(false);
  for (uint32_t i = 0; i < engine_.slot_count; ++i) LetGoOf(engine_.slots[i].holder);
  engine_.slot_count = 0;
  // (What a plugin holds beyond that stays held.)
  if (engine_.first_areas_held && !EnginesHoldAddresses(engine_)) TakeFirstAreasBack(engine_);
  running_ = false;
}

// A built-in engine's threads have ended, and so it has nothing. A plugin gets a while to answer;
// its list goes then, and the engine watches over what it may still touch (EnginesHoldAddresses).
void Crew::LetGoOf(Holder& holder) {
  if (!holder.entered) return;
  if (!migrators::IsPlugin(holder.kind)) {
    engine_.registry.Leave(holder.kind);
    holder.entered = false;
    return;
  }
  const uint64_t end_ns = engine_.kernel.NowNs() + kPluginPatienceNs;
  const threads::Word nothing = 0;
  while (!Settle(engine_, holder) && engine_.kernel.NowNs() < end_ns)
    engine_.threads.Wait(nothing, 0, kGateWaitNs);
  if (!holder.entered) return;
  holder.engine->ForgetList();
  engine_.stuck[engine_.stuck_count++] = holder;
}

// (Another plugin may stand in the place by now: it has counted from 0.)
void Crew::CountPluginsCpu(bool begin) {
  for (const migrators::Spec& spec : job_.Engines()) {
    const auto* plugin = engine_.registry.PluginAt(spec.kind);
    if (plugin == nullptr) continue;
    uint64_t& before = plugin_cpu_ns_[migrators::PlaceOf(spec.kind)];
    const uint64_t now = plugin->Report().cpu_ns;
    if (!begin) plugins_used_ns_ += now >= before ? now - before : now;
    before = now;
  }
}

}  // namespace drover::flow
