// GETs of the loaded keys by redis-benchmark, measured in slices of about a second.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <thread>

namespace drover::demo {

struct Throughput {
  uint64_t requests = 0;
  double seconds = 0;
  double p99_ms = 0;  // of the worst slice
  double ops_per_s() const { return seconds > 0 ? static_cast<double>(requests) / seconds : 0; }
  void Add(const Throughput& slice);
};

class Benchmark {
 public:
  Benchmark(std::string program, std::string socket_path, uint64_t keys);

  // Finds out how many requests make a slice.
  void Calibrate();
  // Slice by slice, as long as the caller wants more. Throws when redis-benchmark fails.
  Throughput MeasureWhile(const std::function<bool()>& go_on) const;
  Throughput MeasureFor(double duration_s) const;

 private:
  Throughput MeasureSlice(uint64_t requests) const;

  std::string program_, socket_path_;
  uint64_t keys_;
  uint64_t slice_requests_ = 20'000;
};

// Measures beside what the caller does, from the beginning to Stop().
class BenchmarkBeside {
 public:
  explicit BenchmarkBeside(const Benchmark& benchmark);
  ~BenchmarkBeside();
  BenchmarkBeside(const BenchmarkBeside&) = delete;
  BenchmarkBeside& operator=(const BenchmarkBeside&) = delete;

  // Ends with the slice that is being measured; throws what stopped the measuring.
  Throughput Stop();

 private:
  std::atomic<bool> stop_ = false;
  Throughput throughput_;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace drover::demo
