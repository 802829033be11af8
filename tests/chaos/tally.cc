#include "chaos/tally.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace drover::chaos {

Tally* MapTally(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, sizeof(Tally)) != 0) return nullptr;
  void* mapped = mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return mapped == MAP_FAILED ? nullptr : static_cast<Tally*>(mapped);
}

}  // namespace drover::chaos
