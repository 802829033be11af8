#include "churn.h"

#include <fmt/format.h>

#include "failure.h"
#include "values.h"

namespace drover::demo {
namespace {

constexpr int kValues = 4000;
constexpr size_t kChurnValueBytes = 2000;
constexpr int kCheckedStep = 100;  // every so many values are read back
// Freed memory goes back to the kernel after every so many cycles; it costs Redis some 10 ms.
constexpr uint64_t kPurgedStep = 10;
// A pace, so that the GETs beside it are about the same in all phases.
constexpr Seconds kCycle{0.1};

std::string KeyOf(int index) {
  return fmt::format("churn:{}", index);
}

}  // namespace

Churn::Churn(const std::string& socket_path, uint64_t seed)
    : redis_(socket_path), thread_([this, seed] { Run(seed); }) {}

Churn::~Churn() {
  Stop();
}

void Churn::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

void Churn::Run(uint64_t seed) {
  try {
    redis_.Ask({"SELECT", "1"});
    while (!stop_) {
      const auto begin = Clock::now();
      WriteAndCheck(seed + cycles_);
      // Both ways in which Redis frees a database: by its main thread and by another one.
      redis_.Ask({"FLUSHDB", cycles_ % 2 == 0 ? "SYNC" : "ASYNC"});
      // Else the allocator keeps for seconds what is free, and the kernel sees nothing of it.
      if (++cycles_ % kPurgedStep == 0) redis_.Ask({"MEMORY", "PURGE"});
      if (const Seconds left = kCycle - Seconds(SecondsSince(begin)); left.count() > 0) Sleep(left);
    }
    redis_.Ask({"FLUSHDB", "SYNC"});
  } catch (const Failure& failure) {
    if (failure.exit_code() != kExitInterrupted) error_ = failure.what();
  }
}

void Churn::WriteAndCheck(uint64_t cycle_seed) {
  RandomBytes random(cycle_seed);
  std::string value(kChurnValueBytes, '\0');
  for (int index = 0; index < kValues; ++index) {
    random.Fill(&value);
    redis_.Append({"SET", KeyOf(index), value});
  }
  redis_.Flush();
  RandomBytes again(cycle_seed);
  for (int index = 0; index < kValues; ++index) {
    again.Fill(&value);
    if (index % kCheckedStep == 0 && redis_.Ask({"GET", KeyOf(index)}) != value)
      throw Failure(
          fmt::format("{} of database 1 has another value than was written", KeyOf(index)));
  }
}

}  // namespace drover::demo
