#include "benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>
#include <vector>

#include "child.h"
#include "failure.h"

namespace drover::demo {
namespace {

constexpr double kSliceSeconds = 1;
constexpr Seconds kSliceLimit{120};
constexpr uint64_t kCalibrationRequests = 50'000;

// The fields of a line "a","b","c"; no field has a quote in it.
std::vector<std::string> Fields(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream parts(line);
  for (std::string part; std::getline(parts, part, ',');) {
    std::erase_if(part, [](char c) { return c == '"' || c == '\r'; });
    fields.push_back(part);
  }
  return fields;
}

// By the names of the head line, so that another version's order does no harm.
double Column(const std::string& csv, const std::string& name) {
  std::istringstream lines(csv);
  std::string head, row;
  std::getline(lines, head);
  std::getline(lines, row);
  const auto names = Fields(head), values = Fields(row);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end() || values.size() != names.size())
    throw Failure("redis-benchmark printed no " + name + ": " + csv);
  return std::strtod(values[static_cast<size_t>(found - names.begin())].c_str(), nullptr);
}

}  // namespace

void Throughput::Add(const Throughput& slice) {
  requests += slice.requests;
  seconds += slice.seconds;
  p99_ms = std::max(p99_ms, slice.p99_ms);
}

Benchmark::Benchmark(std::string program, std::string socket_path, uint64_t keys)
    : program_(std::move(program)), socket_path_(std::move(socket_path)), keys_(keys) {}

void Benchmark::Calibrate() {
  const double rate = MeasureSlice(kCalibrationRequests).ops_per_s();
  slice_requests_ = std::max<uint64_t>(1000, static_cast<uint64_t>(rate * kSliceSeconds));
}

Throughput Benchmark::MeasureSlice(uint64_t requests) const {
  Child child({program_, "-s", socket_path_, "-n", std::to_string(requests), "-r",
               std::to_string(keys_), "--csv", "GET", "key:__rand_int__"});
  const auto ended = child.ReadToEnd(kSliceLimit);
  // It ends with 0 also when it was told an error.
  if (ended.exit_code != 0 || !ended.errors.empty())
    throw Failure(fmt::format("redis-benchmark ended with {}: {}", ended.exit_code,
                              ended.errors.substr(0, ended.errors.find('\n'))));
  const double rate = Column(ended.output, "rps");
  if (rate <= 0) throw Failure("redis-benchmark measured nothing: " + ended.output);
  return {requests, static_cast<double>(requests) / rate, Column(ended.output, "p99_latency_ms")};
}

Throughput Benchmark::MeasureWhile(const std::function<bool()>& go_on) const {
  Throughput all;
  while (go_on()) all.Add(MeasureSlice(slice_requests_));
  return all;
}

Throughput Benchmark::MeasureFor(double duration_s) const {
  const auto begin = Clock::now();
  return MeasureWhile([=] { return SecondsSince(begin) < duration_s; });
}

BenchmarkBeside::BenchmarkBeside(const Benchmark& benchmark)
    : thread_([this, &benchmark] {
        try {
          throughput_ = benchmark.MeasureWhile([this] { return !stop_; });
        } catch (...) {
          failure_ = std::current_exception();
        }
      }) {}

BenchmarkBeside::~BenchmarkBeside() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

Throughput BenchmarkBeside::Stop() {
  stop_ = true;
  thread_.join();
  if (failure_) std::rethrow_exception(failure_);
  return throughput_;
}

}  // namespace drover::demo
