#include "flow/kernel_crew.h"

namespace drover::flow {

void KernelCrew::Start() {
  const Job& job = *engine_.job;
  helpers_ = 0;
  if (!job.kernel_path || job.placement.same || job.plan_only || engine_.budget.is_limited())
    return;
  stop_.store(false);
  started_.store(0);
  while (helpers_ < job.helper_count && helpers_ < kKernelHelpersMax &&
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

void KernelCrew::TakeParts() {
  for (uint32_t first; (first = next_.fetch_add(part_)) < count_;)
    work_(engine_, first, first + part_ < count_ ? first + part_ : count_);
}

void KernelCrew::Share(uint32_t count, Work work) {
  count_ = count;
  work_ = work;
  // Small parts, so that nobody waits long for the last of them.
  part_ = count / (2 * (helpers_ + 1));
  if (part_ < kKernelPartLeast || helpers_ == 0) part_ = helpers_ == 0 ? count : kKernelPartLeast;
  next_.store(0);
  if (helpers_ > 0 && count > part_) {
    open_.store(true);
    round_.fetch_add(1);
    engine_.threads.WakeAll(round_);
  }
  TakeParts();
  // Who comes only now finds it closed.
  open_.store(false);
  for (uint32_t inside; (inside = inside_.load()) != 0;)
    engine_.threads.Wait(inside_, inside, kErrandNapNs);
}

// (Not SCHED_IDLE: it holds locks that the program waits for.)
void KernelCrew::Help() {
  engine_.threads.AllowIdentitySignal(true);
  engine_.kernel.RunOn(engine_.job->helper_cpus[started_.fetch_add(1)]);
  for (uint32_t seen = round_.load(); !stop_.load();) {
    engine_.threads.Wait(round_, seen, 0);
    const uint32_t now = round_.load();
    if (now == seen || stop_.load()) continue;
    seen = now;
    inside_.fetch_add(1);
    if (open_.load()) TakeParts();
    inside_.fetch_sub(1);
    engine_.threads.WakeAll(inside_);
  }
  cpu_ns_.fetch_add(engine_.kernel.ThreadCpuNs());
}

}  // namespace drover::flow
