// Threads that make slow calls of the kernel beside the mover, where the job has CPUs for them, and
// no stall budget: move_pages(2), each for a part of what the kernel path has in hand (the copying
// of one call is one CPU's, and two at a time hold twice as many pages); and MADV_COLLAPSE, each of
// one slot (two at a time hold the lock for twice as long).
//
// Mover thread, but for Help. Freestanding.
#pragma once

#include <atomic>

#include "flow/engine.h"

namespace drover::flow {

class KernelCrew {
 public:
  // Does a part after another until there are none left. On any thread.
  using Work = void (*)(void* self);

  explicit KernelCrew(Engine& engine) : engine_(engine) {}

  // As many as the job wants and there are threads for. Whoever stops them joins them.
  void Start();
  void Stop();
  uint32_t helpers() const { return helpers_; }
  // Up to `most` of them begin with it, those that have their CPUs just then.
  void Begin(Work work, void* self, uint32_t most);
  // Who comes only now does nothing; returns when the others are through.
  void End();
  uint64_t cpu_ns() const { return cpu_ns_; }  // of the helpers, behind the join

 private:
  static void HelpBody(void* self) { static_cast<KernelCrew*>(self)->Help(); }
  void Help();

  Engine& engine_;
  uint32_t helpers_ = 0;
  std::atomic<uint32_t> started_ = 0;  // helpers that have a CPU of the job's
  threads::Word round_ = 0;            // changes with every Begin, and to stop
  uint32_t round_at_start_ = 0;
  threads::Word inside_ = 0;        // helpers that may be at work
  std::atomic<uint32_t> most_ = 0;  // that may begin; 0: between End and Begin
  std::atomic<bool> stop_ = false;
  Work work_ = nullptr;
  void* self_ = nullptr;
  std::atomic<uint64_t> cpu_ns_ = 0;
};

}  // namespace drover::flow
