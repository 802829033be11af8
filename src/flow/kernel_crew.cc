#include "flow/kernel_crew.h"

namespace drover::flow {

void KernelCrew::Start() {
  const Job& job = *engine_.job;
  const bool sends = job.kernel_path && !job.placement.same;
  const bool gathers = job.page_size != PageSize::kKeep;
  helpers_ = 0;
  if ((!sends && !gathers) || job.plan_only || engine_.budget.is_limited()) return;
  const uint32_t most = sends ? kKernelHelpersMax : kGatherHelpersMax;
  stop_.store(false);
  started_.store(0);
  round_at_start_ = round_.load();
  while (helpers_ < job.helper_count && helpers_ < most &&
         engine_.threads.Start(HelpBody, this) == kernel::Errno::kOk)
    ++helpers_;
}

void KernelCrew::Stop() {
  if (helpers_ == 0) return;
  helpers_ = 0;
  stop_.store(true);
  round_.fetch_add(1);
  engine_.threads.WakeAll(round_);
}

void KernelCrew::Begin(Work work, void* self, uint32_t most) {
  if (helpers_ == 0) return;
  work_ = work;
  self_ = self;
  most_.store(most);
  round_.fetch_add(1);
  engine_.threads.WakeAll(round_);
}

void KernelCrew::End() {
  most_.store(0);
  for (uint32_t inside; (inside = inside_.load()) != 0;)
    engine_.threads.Wait(inside_, inside, kErrandNapNs);
}

// (Not SCHED_IDLE: it holds locks that the program waits for.)
void KernelCrew::Help() {
  engine_.threads.AllowIdentitySignal(true);
  const uint32_t index = started_.fetch_add(1);
  engine_.kernel.RunOn(engine_.job->helper_cpus[index]);
  // Not the round of now: there may be one already.
  for (uint32_t seen = round_at_start_; !stop_.load();) {
    engine_.threads.Wait(round_, seen, 0);
    const uint32_t now = round_.load();
    if (now == seen || stop_.load()) continue;
    seen = now;
    inside_.fetch_add(1);  // before the look at most_
    if (index < most_.load()) work_(self_);
    inside_.fetch_sub(1);
    engine_.threads.WakeAll(inside_);
  }
  cpu_ns_.fetch_add(engine_.kernel.ThreadCpuNs());
}

}  // namespace drover::flow
