#include "chaos/source.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace drover::chaos {

Source::Source(uint64_t first_seed) : seed(first_seed), text(kPages * kPage) {
  for (uint64_t i = 0; i < kPages; ++i) Slice::FillWith(&text[i * kPage], seed + i);
}

const Source& TheSource() {
  static const Source source(0x5eed);
  return source;
}

int SourceFile(int flags) {
  char path[] = "/tmp/drover-chaos-XXXXXX";
  const int file = mkstemp(path);
  const auto bytes = static_cast<ssize_t>(TheSource().text.size());
  const bool written = write(file, TheSource().text.data(), TheSource().text.size()) == bytes;
  const int again = written ? open(path, O_RDONLY | O_CLOEXEC | flags) : -1;
  unlink(path);
  close(file);
  return again;
}

void SetToSource(Target& target) {
  for (uint64_t i = 0; i < target.count; ++i)
    target.slice.SetData(target.first + i, TheSource().seed + i);
}

char* Aside() {
  thread_local std::vector<char> aside(Source::kPages * kPage + kPage);
  return aside.data() + (kPage - reinterpret_cast<uintptr_t>(aside.data()) % kPage);
}

void CheckCopy(Target& target, const char* copy) {
  for (uint64_t i = 0; i < target.count; ++i)
    if (!target.slice.IsRightAt(target.first + i, copy + i * kPage)) target.wrong = true;
}

}  // namespace drover::chaos
