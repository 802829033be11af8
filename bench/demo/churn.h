// Writes and flushes database 1 again and again, so that Redis frees memory and takes it into use
// again while it is being moved.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "resp.h"

namespace drover::demo {

class Churn {
 public:
  explicit Churn(const std::string& socket_path, uint64_t seed);
  ~Churn();
  Churn(const Churn&) = delete;
  Churn& operator=(const Churn&) = delete;

  // Leaves the database empty.
  void Stop();
  uint64_t cycles() const { return cycles_; }
  // After Stop: what went wrong; empty: nothing.
  const std::string& error() const { return error_; }

 private:
  void Run(uint64_t seed);
  void WriteAndCheck(uint64_t cycle_seed);

  Connection redis_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> cycles_ = 0;
  std::string error_;
  std::thread thread_;  // last: uses the others
};

}  // namespace drover::demo
