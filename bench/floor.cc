#include "floor.h"

#include <immintrin.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "measure.h"

namespace drover::bench {
namespace {

constexpr size_t kStepBytes = 2u << 20;
constexpr size_t kNodeWords = 16;  // of a mask: 1,024 nodes, the kernel's most

using Copy = void (*)(char* target, const char* source, size_t bytes);

void CopyMemcpy(char* target, const char* source, size_t bytes) {
  memcpy(target, source, bytes);
}

void CopyRepMovsb(char* target, const char* source, size_t bytes) {
  asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
}

__attribute__((target("avx2"))) void CopyStream32(char* target, const char* source, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 128) {
    const auto* from = reinterpret_cast<const __m256i*>(source + i);
    auto* to = reinterpret_cast<__m256i*>(target + i);
    const __m256i a = _mm256_load_si256(from), b = _mm256_load_si256(from + 1);
    const __m256i c = _mm256_load_si256(from + 2), d = _mm256_load_si256(from + 3);
    _mm256_stream_si256(to, a);
    _mm256_stream_si256(to + 1, b);
    _mm256_stream_si256(to + 2, c);
    _mm256_stream_si256(to + 3, d);
  }
  _mm_sfence();
}

__attribute__((target("avx512f"))) void CopyStream64(char* target, const char* source,
                                                     size_t bytes) {
  for (size_t i = 0; i < bytes; i += 128) {
    const __m512i a = _mm512_load_si512(source + i);
    const __m512i b = _mm512_load_si512(source + i + 64);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i), a);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(target + i + 64), b);
  }
  _mm_sfence();
}

// As process_vm_readv(2) and process_vm_writev(2) make it: where a CPU's first touch of a page is
// dear, this is the faster one.
void CopyByKernel(char* target, const char* source, size_t bytes) {
  constexpr size_t kBufferBytes = 64 << 10;
  alignas(4096) static thread_local char buffer[kBufferBytes];
  const pid_t self = getpid();
  for (size_t i = 0; i < bytes; i += kBufferBytes) {
    const iovec here{buffer, kBufferBytes};
    const iovec from{const_cast<char*>(source) + i, kBufferBytes}, to{target + i, kBufferBytes};
    if (process_vm_readv(self, &here, 1, &from, 1, 0) != ssize_t{kBufferBytes} ||
        process_vm_writev(self, &here, 1, &to, 1, 0) != ssize_t{kBufferBytes})
      memcpy(target + i, source + i, kBufferBytes);
  }
}

// For pages that are there, and for those that have just been faulted in.
struct Fastest {
  Copy copy = CopyMemcpy, fresh = CopyMemcpy;
};
Fastest fastest_small, fastest_huge;

char* MapAligned(size_t bytes, bool huge, int node) {
  void* mapped =
      mmap(nullptr, bytes + kStepBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = (reinterpret_cast<uintptr_t>(mapped) + kStepBytes - 1) & ~(kStepBytes - 1);
  // What lies outside the aligned part goes back, so that the start alone says what to unmap.
  const size_t before = start - reinterpret_cast<uintptr_t>(mapped);
  if (before > 0) munmap(mapped, before);
  if (before < kStepBytes) munmap(reinterpret_cast<void*>(start + bytes), kStepBytes - before);
  madvise(reinterpret_cast<void*>(start), bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  if (node >= 0) {
    uint64_t mask[kNodeWords] = {};
    mask[node / 64] = uint64_t{1} << node % 64;
    (void)syscall(SYS_mbind, start, bytes, MPOL_PREFERRED, mask, kNodeWords * 64, 0);
  }
  return reinterpret_cast<char*>(start);
}

// Runs step(target, source) for every 2 MiB, shared out in contiguous parts.
template <class Step>
double Run(const Buffers& buffers, int threads, Step step) {
  return InParts(buffers.source_bytes / kStepBytes, threads, [&](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i)
      step(buffers.target + i * kStepBytes % buffers.target_bytes, buffers.source + i * kStepBytes);
  });
}

}  // namespace

Buffers MapBuffers(size_t source_bytes, size_t target_bytes, bool huge, const BufferNodes& nodes) {
  Buffers buffers{MapAligned(source_bytes, huge, nodes.source),
                  MapAligned(target_bytes, huge, nodes.target), source_bytes, target_bytes, huge};
  if (buffers.source != nullptr) memset(buffers.source, 5, source_bytes);
  return buffers;
}

bool LieOn(const Buffers& buffers, const BufferNodes& nodes) {
  constexpr size_t kLooks = 16;
  const auto lies_on = [](char* start, size_t bytes, int node) {
    if (node < 0) return true;  // (A kernel without nodes knows no move_pages.)
    void* pages[kLooks];
    int status[kLooks];
    for (size_t i = 0; i < kLooks; ++i) pages[i] = start + bytes / kLooks * i;
    return syscall(SYS_move_pages, 0, kLooks, pages, nullptr, status, 0) == 0 &&
           std::all_of(status, status + kLooks, [&](int at) { return at == node; });
  };
  return lies_on(buffers.source, buffers.source_bytes, nodes.source) &&
         lies_on(buffers.target, buffers.target_bytes, nodes.target);
}

void UnmapBuffers(const Buffers& buffers) {
  munmap(buffers.source, buffers.source_bytes);
  munmap(buffers.target, buffers.target_bytes);
}

namespace {

struct Candidate {
  const char* name;
  Copy copy;
  bool here;
};

void Fresh(char* target, char* source, Copy copy) {
  madvise(target, kStepBytes, MADV_POPULATE_WRITE);
  copy(target, source, kStepBytes);
  madvise(source, kStepBytes, MADV_DONTNEED);
}

double TrySeconds(Copy copy, bool huge, bool fresh) {
  constexpr size_t kTrialBytes = 16u << 20;
  const Buffers buffers = MapBuffers(kTrialBytes, kTrialBytes, huge);
  if (!fresh) madvise(buffers.target, kTrialBytes, MADV_POPULATE_WRITE);
  const double seconds = Run(buffers, 1, [&](char* target, char* source) {
    if (fresh)
      Fresh(target, source, copy);
    else
      copy(target, source, kStepBytes);
  });
  UnmapBuffers(buffers);
  return seconds;
}

// Of those that this CPU has, by the medians of some tries (which one is fastest may depend on what
// others do with the memory just then), all into pages that are faulted in anew: before the clock
// starts, or step by step as a part of what is measured. Among equals it is the first of the list,
// which the plain loop has, too.
Candidate FastestInto(bool huge, bool fresh) {
  const Candidate candidates[] = {
      {"streaming stores, 64 bytes", CopyStream64, __builtin_cpu_supports("avx512f") != 0},
      {"streaming stores, 32 bytes", CopyStream32, __builtin_cpu_supports("avx2") != 0},
      {"rep movsb", CopyRepMovsb, true},
      {"memcpy", CopyMemcpy, true},
      {"the kernel's mapping", CopyByKernel, true},
  };
  constexpr double kClearly = 0.95;
  // The fewer where one takes long, as on an emulated machine.
  constexpr int kTries = 6, kTriesLeast = 2;
  constexpr double kLongS = 2;
  size_t fastest = 0;
  while (!candidates[fastest].here) ++fastest;
  // Each behind a try of the first one: what the caches have of it is as where sides alternate.
  const Copy before = candidates[fastest].copy;
  std::vector<double> seconds[std::size(candidates)];
  const double begin = Now();
  for (int k = 0; k < kTries && (k < kTriesLeast || Now() - begin < kLongS); ++k)
    for (size_t i = 0; i < std::size(candidates); ++i) {
      if (!candidates[i].here) continue;
      (void)TrySeconds(before, huge, fresh);
      seconds[i].push_back(TrySeconds(candidates[i].copy, huge, fresh));
    }
  for (size_t i = fastest + 1; i < std::size(candidates); ++i)
    if (candidates[i].here && Median(seconds[i]) < kClearly * Median(seconds[fastest])) fastest = i;
  return candidates[fastest];
}

}  // namespace

std::string FindFastestCopy(bool huge) {
  const Candidate copy = FastestInto(huge, false), fresh = FastestInto(huge, true);
  (huge ? fastest_huge : fastest_small) = {copy.copy, fresh.copy};
  std::string words = copy.name;
  if (fresh.copy != copy.copy) words += std::string(" (fresh: ") + fresh.name + ")";
  return words;
}

double CopyFloor(const Buffers& buffers, int threads) {
  const Copy copy = (buffers.huge ? fastest_huge : fastest_small).copy;
  return Run(buffers, threads,
             [&](char* target, const char* source) { copy(target, source, kStepBytes); });
}

double FreshFloor(const Buffers& buffers, int threads) {
  const Copy copy = (buffers.huge ? fastest_huge : fastest_small).fresh;
  return Run(buffers, threads, [&](char* target, char* source) { Fresh(target, source, copy); });
}

double PlainFreshFloor(const Buffers& buffers) {
  if (__builtin_cpu_supports("avx512f") == 0) return -1;
  const double begin = Now();
  for (size_t at = 0; at < buffers.source_bytes; at += kStepBytes) {
    char* target = buffers.target + at % buffers.target_bytes;
    madvise(target, kStepBytes, MADV_POPULATE_WRITE);
    CopyStream64(target, buffers.source + at, kStepBytes);
    madvise(buffers.source + at, kStepBytes, MADV_DONTNEED);
  }
  return Now() - begin;
}

}  // namespace drover::bench
