// Threads that make move_pages(2) calls beside the mover, each for a part of what the kernel path
// has in hand: the copying of one call is one CPU's. Where the job has CPUs for them, and no stall
// budget (two calls at a time would hold twice as many pages).
//
// Mover thread, but for Help. Freestanding.
#pragma once

#include <atomic>

#include "flow/engine.h"

namespace drover::flow {

class KernelCrew {
 public:
  // Works off entries [first, end) of the engine's list; on any thread.
  using Work = void (*)(Engine& engine, uint32_t first, uint32_t end);

  explicit KernelCrew(Engine& engine) : engine_(engine) {}

  // As many as the job wants and there are threads for. Whoever stops them joins them.
  void Start();
  void Stop();
  // Part by part, on this thread and on those that have their CPUs just then; returns when all is
  // done.
  void Share(uint32_t count, Work work);
  uint64_t cpu_ns() const { return cpu_ns_; }  // of the helpers, behind the join

 private:
  static void HelpBody(void* self) { static_cast<KernelCrew*>(self)->Help(); }
  void Help();
  void TakeParts();

  Engine& engine_;
  uint32_t helpers_ = 0;
  std::atomic<uint32_t> started_ = 0;  // helpers that have a CPU of the job's
  threads::Word round_ = 0;            // changes with every list, and to stop
  threads::Word inside_ = 0;           // helpers that may touch the list
  std::atomic<bool> open_ = false, stop_ = false;
  std::atomic<uint32_t> next_ = 0;  // entry of the next part
  uint32_t count_ = 0, part_ = 0;
  Work work_ = nullptr;
  std::atomic<uint64_t> cpu_ns_ = 0;
};

}  // namespace drover::flow
