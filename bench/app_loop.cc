#include <fmt/format.h>
#include <sys/mman.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "app.h"
#include "probe.h"

namespace drover::bench {

int RunAppLoop(size_t total_bytes, double seconds, const std::string& ready) {
  void* const mapped =
      mmap(nullptr, total_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return 1;
  // Small pages, which may become huge later: so the kernel has something to move on one node.
  madvise(mapped, total_bytes, MADV_NOHUGEPAGE);
  FillForProbe(static_cast<char*>(mapped), total_bytes);
  madvise(mapped, total_bytes, MADV_HUGEPAGE);
  const double cycles_per_us = CyclesPerUs();
  Probe probe(static_cast<char*>(mapped), total_bytes, 1, ~uint64_t{0});
  std::ofstream(ready) << "ready\n";
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  probe.Stop();
  const Times times = probe.times();
  const auto us = [&](double share) {
    return static_cast<double>(times.Quantile(share)) / cycles_per_us;
  };
  const nlohmann::json seen = {{"per_s", static_cast<double>(times.count()) / seconds},
                               {"p50_us", us(0.5)},
                               {"p99_us", us(0.99)},
                               {"p999_us", us(0.999)},
                               {"wrong_words", probe.wrong_words()}};
  fmt::print("{}\n", seen.dump());
  return 0;
}

}  // namespace drover::bench
