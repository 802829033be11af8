// The copy engines that one job wants, with their threads.
#pragma once

#include <optional>

#include "migrators/channels.h"
#include "migrators/fault.h"
#include "migrators/null.h"
#include "migrators/serial.h"
#include "migrators/threads.h"

namespace drover::migrators {

// Large. Mover thread.
class EngineSet {
 public:
  EngineSet(const CopyFunctions& copy, kernel::Kernel& kernel, threads::Threads& threads)
      : serial_(copy),
        serial_of_fault_(copy),
        threads_(copy, kernel, threads),
        channels_(copy, kernel, threads),
        kernel_(kernel) {}

  // Makes an engine for each spec (at most kEnginesPerJobMax; CheckTogether says what goes
  // together) and starts its threads, on these CPUs in turn: fewer CPUs, fewer helpers for
  // `threads`, of which the first has the errands, if any. Returns how many threads there are.
  uint32_t Start(std::span<const Spec> specs, std::span<const int16_t> cpus,
                 Errands* errands = nullptr);
  // Lets the threads end. Then they are joined by Threads::JoinAll.
  void Stop();
  // Behind the join: whoever still has a batch lets go of it.
  void LetGo();

  uint32_t size() const { return size_; }
  Migrator* operator[](uint32_t i) { return engines_[i]; }  // nullptr: a plugin
  uint64_t late_chunks() const { return threads_.late_chunks(); }
  uint64_t cpu_ns() const { return threads_.cpu_ns() + channels_.cpu_ns(); }  // behind the join
  uint64_t out_of_order() const { return channels_.out_of_order(); }

 private:
  Migrator* Get(Kind kind);

  Serial serial_, serial_of_fault_;
  Null null_;
  ThreadsMigrator threads_;
  ChannelsMigrator channels_;
  std::optional<FaultMigrator> fault_;
  kernel::Kernel& kernel_;
  uint32_t size_ = 0;
  Migrator* engines_[kEnginesPerJobMax] = {};
};

}  // namespace drover::migrators
