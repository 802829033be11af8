// Memory of which every word carries what it must be, under threads that read and write it.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "drover/engine.h"

namespace drover::live {

// A word is (its index << 16 | a counter that only its one writer raises), so that a word from
// another place, an old one and a zero are all noticed.
class CheckedMemory {
 public:
  CheckedMemory(size_t bytes, bool huge);
  ~CheckedMemory();
  CheckedMemory(const CheckedMemory&) = delete;
  CheckedMemory& operator=(const CheckedMemory&) = delete;

  void AllowHuge();  // from now on the kernel may make huge pages of the small ones
  AddressRange range() const { return {const_cast<const uint64_t*>(words_), bytes_}; }
  uint64_t pages() const { return bytes_ / 4096; }

  // Each thread owns every count-th word: it alone writes it, and knows what it must read.
  void StartThreads(uint32_t count);
  // Also checks every word once more.
  uint64_t StopThreadsAndCountWrongWords();
  uint64_t operations() const { return operations_.load(); }

 private:
  void Run(uint32_t self, uint32_t count);

  size_t bytes_;
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  volatile uint64_t* words_ = nullptr;
  std::vector<uint16_t> expected_;  // the counter of each word
  std::vector<std::thread> threads_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> wrong_ = 0;
  std::atomic<uint64_t> operations_ = 0;
};

// Physical page frames, by /proc/self/pagemap (needs root).
std::vector<uint64_t> FramesOf(AddressRange range);
uint64_t CountChanged(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after);
// Whole huge pages in the range, by /proc/self/smaps.
uint64_t HugePages(AddressRange range);

}  // namespace drover::live
