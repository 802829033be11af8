#include "probe.h"

#include <x86intrin.h>

#include <algorithm>
#include <bit>
#include <chrono>

namespace drover::bench {
namespace {

constexpr size_t kWordsPerLine = 8;
constexpr size_t kWordsPerPage = 512;

// Nothing of what is timed goes before the first, or behind the second.
uint64_t Begin() {
  _mm_lfence();
  const uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}
uint64_t End() {
  unsigned cpu;
  const uint64_t now = __rdtscp(&cpu);
  _mm_lfence();
  return now;
}

uint64_t NextRandom(uint64_t& state) {  // xorshift64
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

}  // namespace

void Times::Add(uint64_t cycles) {
  ++count_;
  max_ = std::max(max_, cycles);
  const int power = 63 - std::countl_zero(cycles | kSteps);
  ++buckets_[power * kSteps + static_cast<int>(cycles >> (power - 4)) % kSteps];
}

void Times::Add(const Times& others) {
  count_ += others.count_;
  max_ = std::max(max_, others.max_);
  for (size_t i = 0; i < std::size(buckets_); ++i) buckets_[i] += others.buckets_[i];
}

uint64_t Times::Quantile(double share) const {
  const auto wanted = static_cast<uint64_t>(share * static_cast<double>(count_));
  uint64_t seen = 0;
  for (size_t i = 0; i < std::size(buckets_); ++i) {
    seen += buckets_[i];
    if (seen <= wanted || buckets_[i] == 0) continue;
    const uint64_t power = i / kSteps, upper = (kSteps + i % kSteps + 1) << (power - 4);
    return std::min(upper, max_);
  }
  return max_;
}

void FillForProbe(char* memory, size_t bytes) {
  auto* words = reinterpret_cast<uint64_t*>(memory);
  for (size_t i = 0; i < bytes / sizeof *words; i += kWordsPerLine) words[i] = i;
}

Probe::Probe(char* memory, size_t bytes, unsigned threads, uint64_t long_cycles)
    : words_(reinterpret_cast<volatile uint64_t*>(memory)),
      word_count_(bytes / sizeof(uint64_t)),
      long_cycles_(long_cycles),
      threads_(threads) {
  for (size_t i = 0; i < threads_.size(); ++i)
    threads_[i].thread = std::thread([this, i] { Run(threads_[i], i + 1); });
}

// (A word is its own index, also where it is written: a stale, a foreign and a lost one differ.)
void Probe::Run(Thread& self, uint64_t seed) {
  uint64_t random = seed * 0x9e3779b97f4a7c15;
  while (!stop_.load(std::memory_order_relaxed)) {
    const size_t at = NextRandom(random) % (word_count_ / kWordsPerLine) * kWordsPerLine;
    const bool writes = (random >> 40 & 1) != 0;
    uint64_t value = at;
    const uint64_t begin = Begin();
    if (writes)
      words_[at] = at;
    else
      value = words_[at];
    const uint64_t end = End();
    if (value != at) ++self.wrong_words;
    self.times.Add(end - begin);
    if (end - begin >= long_cycles_) self.long_accesses.push_back({begin, end, at / kWordsPerPage});
  }
}

void Probe::Stop() {
  stop_ = true;
  for (Thread& thread : threads_)
    if (thread.thread.joinable()) thread.thread.join();
}

Times Probe::times() const {
  Times all;
  for (const Thread& thread : threads_) all.Add(thread.times);
  return all;
}

std::vector<LongAccess> Probe::long_accesses() const {
  std::vector<LongAccess> all;
  for (const Thread& thread : threads_)
    all.insert(all.end(), thread.long_accesses.begin(), thread.long_accesses.end());
  return all;
}

uint64_t Probe::wrong_words() const {
  uint64_t all = 0;
  for (const Thread& thread : threads_) all += thread.wrong_words;
  return all;
}

double CyclesPerUs() {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const uint64_t begin_tsc = __rdtsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const uint64_t cycles = __rdtsc() - begin_tsc;
  return static_cast<double>(cycles) /
         std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

}  // namespace drover::bench
