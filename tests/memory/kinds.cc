#include "memory/kinds.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace drover::memory {

char* Map(size_t bytes, int protection, int flags, int file) {
  void* mapped = mmap(nullptr, bytes, protection, flags, file, 0);
  return mapped == MAP_FAILED ? nullptr : static_cast<char*>(mapped);
}

char* MapSmall(size_t bytes) {
  char* mapped = Map(bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  const auto address = reinterpret_cast<uintptr_t>(mapped);
  char* start = mapped + ((kHugePage - address % kHugePage) % kHugePage);
  // Nothing beside it, so that the range of the kind is a mapping of its own.
  if (start > mapped) munmap(mapped, static_cast<size_t>(start - mapped));
  char* end = mapped + bytes + kHugePage;
  if (end > start + bytes) munmap(start + bytes, static_cast<size_t>(end - start) - bytes);
  madvise(start, bytes, MADV_NOHUGEPAGE);
  return start;
}

void Stamp(char* start, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kPage) {
    const auto word = reinterpret_cast<uintptr_t>(start + at);
    std::memcpy(start + at, &word, sizeof word);
    std::memcpy(start + at + kPage - sizeof word, &word, sizeof word);
  }
}

Made Stamped(size_t pages) {
  Made made{MapSmall(pages * kPage), pages * kPage, Content::kStamped};
  Stamp(made.start, made.bytes);
  return made;
}

OnMainStack on_main_stack;

uint64_t CountWrong(const Made& made) {
  if (made.undo != nullptr) made.undo(made);
  if (made.works != nullptr && !made.works()) return 1;
  if (made.content == Content::kUnlooked) return 0;
  mprotect(made.start, made.bytes, PROT_READ);
  uint64_t wrong = 0;
  for (size_t at = 0; at < made.bytes; at += kPage) {
    uintptr_t first = 0, last = 0;
    const char* page = made.start + at;
    std::memcpy(&first, page, sizeof first);
    std::memcpy(&last, page + kPage - sizeof last, sizeof last);
    const auto stamp = reinterpret_cast<uintptr_t>(page);
    const bool stamped = first == stamp && last == stamp;
    const bool zero = first == 0 && last == 0;
    const bool filled = std::all_of(page, page + kPage, [](char byte) { return byte == kFill; });
    const bool right = made.content == Content::kFilled
                           ? filled
                           : (stamped && made.content != Content::kZero) ||
                                 (zero && made.content != Content::kStamped);
    wrong += right ? 0 : 1;
  }
  return wrong;
}

int KeepChild() {
  const int parent = getpid();
  const int child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  for (;;) pause();
}

}  // namespace drover::memory
