// What the benchmarks measure with.
#pragma once

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace drover::bench {

// Seconds of a clock that only goes forward.
inline double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// CPU seconds of all threads of this process.
inline double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](timeval t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Of at least one value; of an even number the upper one in the middle.
inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Spread {
  double median = 0, min = 0, max = 0;
};
inline Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

inline int AllowedCpus() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

// The whole process, threads that it starts included, on this many CPUs; the old mask comes back at
// the end.
class Confine {
 public:
  explicit Confine(int cpus) {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t few;
    CPU_ZERO(&few);
    for (int cpu = 0, taken = 0; cpu < CPU_SETSIZE && taken < cpus; ++cpu)
      if (CPU_ISSET(cpu, &before_)) CPU_SET(cpu, &few), ++taken;
    sched_setaffinity(0, sizeof few, &few);
  }
  ~Confine() { sched_setaffinity(0, sizeof before_, &before_); }
  Confine(const Confine&) = delete;
  Confine& operator=(const Confine&) = delete;

 private:
  cpu_set_t before_;
};

// part(first, last) for contiguous parts of [0, count), each in a thread of its own. Returns the
// seconds that it took.
template <class Part>
double InParts(size_t count, int threads, Part part) {
  const double begin = Now();
  const auto border = [&](int t) {
    return count * static_cast<size_t>(t) / static_cast<size_t>(threads);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(part, border(t), border(t + 1));
  part(size_t{0}, border(1));
  for (auto& other : others) other.join();
  return Now() - begin;
}

}  // namespace drover::bench
