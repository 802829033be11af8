// Threads that touch random words of some memory and time each access, so that what drover says of
// stalls can be checked by somebody else. No counter of drover's is in here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace drover::bench {

// How often which time was measured: within 1/16 of it.
class Times {
 public:
  void Add(uint64_t cycles);
  void Add(const Times& others);
  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  // Below which `share` of all lie; 0 of none.
  uint64_t Quantile(double share) const;

 private:
  static constexpr int kSteps = 16;  // of each power of two
  uint64_t count_ = 0, max_ = 0;
  uint64_t buckets_[64 * kSteps] = {};
};

// One that took longer than what a cache miss takes.
struct LongAccess {
  uint64_t begin = 0, end = 0;  // by the time stamp counter
  uint64_t page = 0;            // number, from the start of the memory on
};

class Probe {
 public:
  // Half of the accesses read, half write. An access is long from `long_cycles` on.
  Probe(char* memory, size_t bytes, unsigned threads, uint64_t long_cycles);
  ~Probe() { Stop(); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  void Stop();
  // Behind Stop.
  Times times() const;
  std::vector<LongAccess> long_accesses() const;
  uint64_t wrong_words() const;

 private:
  struct Thread {
    Times times;
    std::vector<LongAccess> long_accesses;
    uint64_t wrong_words = 0;
    std::thread thread;
  };
  void Run(Thread& self, uint64_t seed);

  volatile uint64_t* words_;
  size_t word_count_;
  uint64_t long_cycles_;
  std::atomic<bool> stop_ = false;
  std::vector<Thread> threads_;
};

// Fills memory with what a probe expects there.
void FillForProbe(char* memory, size_t bytes);

// Cycles of the time stamp counter in a microsecond, by the monotonic clock. Takes 50 ms.
double CyclesPerUs();

}  // namespace drover::bench
