#include "chaos/memory_limit.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace drover::chaos {
namespace {

constexpr const char *kV1 = "/sys/fs/cgroup/memory", *kV2 = "/sys/fs/cgroup";

bool Put(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

}  // namespace

MemoryLimit::MemoryLimit() {
  v1_ = access((std::string(kV1) + "/memory.limit_in_bytes").c_str(), W_OK) == 0;
  path_ = std::string(v1_ ? kV1 : kV2) + "/drover-chaos-" + std::to_string(getpid());
  if (mkdir(path_.c_str(), 0755) != 0) return;
  good_ = v1_ ? Put(path_ + "/memory.oom_control", "1")
              : access((path_ + "/memory.high").c_str(), W_OK) == 0;
}
MemoryLimit::~MemoryLimit() {
  // A group is busy until the kernel has let go of its last process.
  for (int i = 0; i < 100 && rmdir(path_.c_str()) != 0 && access(path_.c_str(), F_OK) == 0; ++i)
    usleep(10'000);
}

bool MemoryLimit::Tighten(long bytes) const {
  long used = 0;
  std::ifstream(path_ + (v1_ ? "/memory.usage_in_bytes" : "/memory.current")) >> used;
  // Refused where so much cannot be given back: then as much as is used.
  for (const long limit : {used - bytes, used, used + (64 << 10)})
    if (Put(path_ + (v1_ ? "/memory.limit_in_bytes" : "/memory.high"),
            std::to_string(std::max(limit, 4096L))))
      return true;
  return false;
}
void MemoryLimit::Loosen() const {
  Put(path_ + (v1_ ? "/memory.limit_in_bytes" : "/memory.high"), v1_ ? "-1" : "max");
}

long MemoryLimit::times_met() const {
  long times = 0;
  if (v1_) {
    std::ifstream(path_ + "/memory.failcnt") >> times;
    return times;
  }
  std::ifstream events(path_ + "/memory.events");
  for (std::string word; events >> word;)
    if (word == "high") events >> times;
  return times;
}

}  // namespace drover::chaos
