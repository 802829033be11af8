// Private anonymous memory: by page size, by use, by what was advised.
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "live/zero_pages.h"
#include "memory/kinds.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13
#define MADV_GUARD_REMOVE 103
#endif

namespace drover::memory {
namespace {

Made Small() {
  return Stamped();
}

Made Huge(size_t huge_pages, size_t small_pages) {
  const size_t bytes = huge_pages * kHugePage + small_pages * kPage;
  char* start = MapSmall(huge_pages * kHugePage + kHugePage);
  munmap(start + bytes, (huge_pages + 1) * kHugePage - bytes);
  madvise(start, huge_pages * kHugePage, MADV_HUGEPAGE);
  Stamp(start, bytes);
  return {start, bytes, Content::kStamped};
}
Made WholeHuge() {
  return Huge(2, 0);
}
Made PartlyHuge() {
  return Huge(1, 64);
}

// Folios of one size, where the administrator has them.
template <int kKib>
Made Folios() {
  const std::string size = std::to_string(kKib);
  std::string word;
  std::getline(
      std::ifstream("/sys/kernel/mm/transparent_hugepage/hugepages-" + size + "kB/enabled"), word);
  if (word.find("[always]") == std::string::npos && word.find("[madvise]") == std::string::npos)
    return Cannot("folios of " + size + " KiB are switched off");
  char* start = MapSmall(kHugePage);
  munmap(start + kHugePage / 2, kHugePage / 2);  // so that no huge page fits
  madvise(start, kHugePage / 2, MADV_HUGEPAGE);
  Stamp(start, kHugePage / 2);
  return {start, kHugePage / 2, Content::kStamped};
}

// A range by the name of its mapping in /proc/self/maps.
Made Named(const char* name, const char* rights = "rw-p") {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t start = 0, end = 0;
    char has[8] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, has) != 3) continue;
    if (std::string(has) != rights || line.find(name) == std::string::npos) continue;
    return {reinterpret_cast<char*>(start), end - start, Content::kUnlooked};
  }
  return Cannot(std::string("no mapping ") + name);
}
char* blocks[64];
constexpr size_t kBlockBytes = 4000;
bool IsFilled(const char* start, size_t bytes, char byte) {
  return std::all_of(start, start + bytes, [byte](char each) { return each == byte; });
}
Made Heap() {
  for (char*& block : blocks) {
    block = static_cast<char*>(::operator new(kBlockBytes));
    std::memset(block, static_cast<int>(&block - blocks), kBlockBytes);
  }
  Made made = Named("[heap]");
  made.works = [] {
    return std::all_of(std::begin(blocks), std::end(blocks), [](char*& block) {
      return IsFilled(block, kBlockBytes, static_cast<char>(&block - blocks));
    });
  };
  return made;
}
Made MainStack() {
  std::memset(on_main_stack.start, kFill, on_main_stack.bytes);
  Made made = Named("[stack]");
  made.works = [] { return IsFilled(on_main_stack.start, on_main_stack.bytes, kFill); };
  return made;
}
// The state of rand() is part of it.
Made LibraryData() {
  constexpr unsigned kSeed = 7;
  static int second;
  std::srand(kSeed);
  (void)std::rand();
  second = std::rand();
  std::srand(kSeed);
  (void)std::rand();
  Made made = Named("libc.so");
  made.works = [] { return std::rand() == second; };
  return made;
}

// A thread that waits to be let go; its stack, from below its frames up to its control block.
struct WaitingThread {
  pthread_t id;
  std::atomic<bool> started = false;
  sem_t go;
  char* stack = nullptr;
};
constexpr size_t kStackBytes = 256 << 10;
WaitingThread waiting;
thread_local uintptr_t in_control_block = 1;

void* Wait(void*) {
  in_control_block = reinterpret_cast<uintptr_t>(&in_control_block);
  waiting.started = true;
  while (sem_wait(&waiting.go) != 0) {
  }
  const bool right = in_control_block == reinterpret_cast<uintptr_t>(&in_control_block);
  return right ? &waiting : nullptr;
}
void StartThread() {
  sem_init(&waiting.go, 0, 0);
  waiting.stack = MapSmall(kStackBytes);
  pthread_attr_t how;
  pthread_attr_init(&how);
  pthread_attr_setstack(&how, waiting.stack, kStackBytes);
  pthread_create(&waiting.id, &how, Wait, nullptr);
  while (!waiting.started) usleep(1000);
}
// It still has what it had, and can be joined.
bool EndsAsItShould() {
  void* told = nullptr;
  sem_post(&waiting.go);
  return pthread_join(waiting.id, &told) == 0 && told == &waiting;
}
Made ThreadStack() {
  StartThread();
  Stamp(waiting.stack, 32 * kPage);  // far below its frames
  return {.start = waiting.stack, .bytes = 32 * kPage, .works = EndsAsItShould};
}
Made ControlBlock() {
  StartThread();
  return {.start = waiting.stack + kStackBytes - kPage,
          .bytes = kPage,
          .content = Content::kUnlooked,
          .works = EndsAsItShould};
}

Made Advised(int advice) {
  Made made = Stamped();
  if (madvise(made.start, made.bytes, advice) != 0) return Cannot("this advice is unknown here");
  return made;
}
Made DontFork() {
  return Advised(MADV_DONTFORK);
}
Made WipeOnFork() {
  return Advised(MADV_WIPEONFORK);
}
Made DontDump() {
  return Advised(MADV_DONTDUMP);
}
Made Cold() {
  return Advised(MADV_COLD);
}
Made Freed() {
  Made made = Advised(MADV_FREE);
  made.content = Content::kStampedOrZero;
  return made;
}

constexpr const char* kNoZeroPages = "this kernel gives what is only read a page of its own";

Made ZeroPage() {
  if (!live::HasZeroPages()) return Cannot(kNoZeroPages);
  Made made{MapSmall(64 * kPage), 64 * kPage, Content::kZero};
  for (size_t at = 0; at < made.bytes; at += kPage)
    (void)*static_cast<volatile char*>(made.start + at);
  return made;
}
Made HugeZeroPage() {
  if (!live::HasZeroPages()) return Cannot(kNoZeroPages);
  char* start = MapSmall(2 * kHugePage);
  madvise(start, 2 * kHugePage, MADV_HUGEPAGE);
  for (size_t at = 0; at < 2 * kHugePage; at += kPage)
    (void)*static_cast<volatile char*>(start + at);
  return {start, 2 * kHugePage, Content::kZero};
}
Made NeverTouched() {
  return {MapSmall(64 * kPage), 64 * kPage, Content::kZero};
}

// Guards lie inside the range and hold no page.
Made Guards() {
  Made made = Stamped();
  constexpr size_t kFirst = 16 * kPage, kBytes = 4 * kPage;
  if (madvise(made.start + kFirst, kBytes, MADV_GUARD_INSTALL) != 0)
    return Cannot("MADV_GUARD_INSTALL came with Linux 6.13");
  made.undo = [](const Made& self) {
    madvise(self.start + kFirst, kBytes, MADV_GUARD_REMOVE);
    Stamp(self.start + kFirst, kBytes);
  };
  return made;
}

constexpr Kind kPrivateKinds[] = {
    {"anonymous-4k", "private anonymous, 4 KiB pages", Small},
    {"anonymous-2m", "private anonymous, 2 MiB pages", WholeHuge},
    {"anonymous-partly-2m", "private anonymous, one 2 MiB page and 4 KiB pages", PartlyHuge},
    {"anonymous-16k", "private anonymous, folios of 16 KiB (mTHP)", Folios<16>},
    {"anonymous-64k", "private anonymous, folios of 64 KiB (mTHP)", Folios<64>},
    {"anonymous-1m", "private anonymous, folios of 1 MiB (mTHP)", Folios<1024>},
    {"heap", "heap (brk)", Heap},
    {"main-stack", "stack of the main thread", MainStack},
    {"thread-stack", "stack of a thread", ThreadStack},
    {"control-block", "control block of a thread", ControlBlock},
    {"library-data", ".data and .bss of a library", LibraryData},
    {"dontfork", "MADV_DONTFORK", DontFork},
    {"wipeonfork", "MADV_WIPEONFORK", WipeOnFork},
    {"dontdump", "MADV_DONTDUMP", DontDump},
    {"cold", "MADV_COLD", Cold},
    {"freed", "MADV_FREE'd and not yet reclaimed", Freed},
    {"guards", "with guard pages (MADV_GUARD_INSTALL)", Guards},
    {"zero-page", "only read: the zero page", ZeroPage},
    {"huge-zero-page", "only read: the huge zero page", HugeZeroPage},
    {"never-touched", "never touched", NeverTouched},
};

}  // namespace

std::span<const Kind> PrivateKinds() {
  return kPrivateKinds;
}

}  // namespace drover::memory
