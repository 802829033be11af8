#include "live/checked_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>
#include <string>

namespace drover::live {
namespace {

constexpr size_t kHugeBytes = 2u << 20;
constexpr size_t kWordStride = 64;  // one word a cache line is checked: 64 of a page

}  // namespace

CheckedMemory::CheckedMemory(size_t bytes, bool huge) : bytes_(bytes) {
  mapped_bytes_ = bytes + kHugeBytes;
  mapped_ =
      mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto start = (reinterpret_cast<uintptr_t>(mapped_) + kHugeBytes - 1) & ~(kHugeBytes - 1);
  madvise(reinterpret_cast<void*>(start), bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  words_ = reinterpret_cast<volatile uint64_t*>(start);
  expected_.resize(bytes / kWordStride);
  for (size_t i = 0; i < expected_.size(); ++i) words_[i * 8] = i << 16;
}

CheckedMemory::~CheckedMemory() {
  stop_ = true;
  for (auto& thread : threads_) thread.join();
  munmap(mapped_, mapped_bytes_);
}

void CheckedMemory::AllowHuge() {
  madvise(const_cast<uint64_t*>(words_), bytes_, MADV_HUGEPAGE);
}

void CheckedMemory::StartThreads(uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) threads_.emplace_back([=, this] { Run(i, count); });
}

void CheckedMemory::Run(uint32_t self, uint32_t count) {
  std::mt19937_64 random(self + 1);  // the same walk every time
  uint64_t done = 0;
  while (!stop_.load(std::memory_order_relaxed)) {
    const size_t i = random() % (expected_.size() / count) * count + self;
    if (words_[i * 8] != (i << 16 | expected_[i])) ++wrong_;
    if (done++ % 2 == 0) {
      ++expected_[i];
      words_[i * 8] = i << 16 | expected_[i];
    }
  }
  operations_ += done;
}

uint64_t CheckedMemory::StopThreadsAndCountWrongWords() {
  stop_ = true;
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  for (size_t i = 0; i < expected_.size(); ++i)
    if (words_[i * 8] != (i << 16 | expected_[i])) ++wrong_;
  return wrong_;
}

std::vector<uint64_t> FramesOf(AddressRange range) {
  std::vector<uint64_t> entries(range.length_bytes / 4096);
  const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const auto offset = reinterpret_cast<uintptr_t>(range.start) / 4096 * 8;
  const ssize_t wanted = static_cast<ssize_t>(entries.size() * 8);
  const ssize_t got = pread(file, entries.data(), entries.size() * 8, static_cast<off_t>(offset));
  close(file);
  if (got != wanted) entries.clear();
  for (uint64_t& entry : entries) entry &= (uint64_t{1} << 55) - 1;
  return entries;
}

uint64_t CountChanged(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after) {
  uint64_t changed = 0;
  for (size_t i = 0; i < before.size() && i < after.size(); ++i)
    changed += before[i] != after[i] && before[i] != 0 && after[i] != 0;
  return changed;
}

uint64_t HugePages(AddressRange range) {
  const auto start = reinterpret_cast<uintptr_t>(range.start);
  std::ifstream smaps("/proc/self/smaps");
  uint64_t kilobytes = 0;
  bool ours = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long first, last, value;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2)
      ours = first < start + range.length_bytes && last > start;
    if (ours && std::sscanf(line.c_str(), "AnonHugePages: %lu kB", &value) == 1) kilobytes += value;
  }
  return kilobytes / 2048;
}

}  // namespace drover::live
