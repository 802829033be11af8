#include "topology/helpers.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <tuple>

#include "topology/nodes.h"
#include "topology/process_status.h"

namespace drover::topology {
namespace {

bool Has(const std::vector<int>& ids, int id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// From each CPU's node to `node`. Where the machine does not say: 0 to itself, else 1.
uint64_t DistanceTo(const Machine& machine, int from, int node) {
  if (node < 0) return 0;
  const auto at = [&](int id) {
    return std::find_if(machine.nodes.begin(), machine.nodes.end(),
                        [&](const MachineNode& known) { return known.id == id; });
  };
  const auto source = at(from), target = at(node);
  if (source == machine.nodes.end() || target == machine.nodes.end()) return ~uint64_t{0};
  const auto column = static_cast<size_t>(target - machine.nodes.begin());
  if (column < source->distances.size()) return source->distances[column];
  return from == node ? 0 : 1;
}

struct Spread {
  std::map<int, int> in_cache, on_core;  // helpers placed so far
};

// What stands behind a CPU's choice; the least is taken.
auto RankOf(const Machine& machine, const Cpu& cpu, const std::vector<int>& idle, int node,
            Spread& spread) {
  bool core_is_free = spread.on_core[cpu.core] == 0;
  for (const Cpu& other : machine.cpus)
    if (cpu.core >= 0 && other.core == cpu.core && !Has(idle, other.id)) core_is_free = false;
  if (cpu.core < 0) core_is_free = true;
  return std::tuple(DistanceTo(machine, cpu.node, node), !core_is_free, -cpu.speed,
                    spread.in_cache[cpu.cache], cpu.id);
}

}  // namespace

std::map<int, Ticks> ReadTicks(const std::string& root) {
  std::map<int, Ticks> ticks;
  std::ifstream stat(root + "/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    int cpu = 0;
    std::string name;
    std::istringstream words(line);
    if (!(words >> name) || std::sscanf(name.c_str(), "cpu%d", &cpu) != 1) continue;
    // user nice system idle iowait irq softirq steal; guests count as user, too (proc(5)).
    uint64_t value = 0, all = 0, unused = 0;
    for (int field = 0; field < 8 && words >> value; ++field) {
      all += value;
      if (field == 3 || field == 4) unused += value;
    }
    ticks[cpu] = {all - unused, all};
  }
  return ticks;
}

std::vector<int> PlaceHelpers(const Machine& machine, const std::vector<int>& idle,
                              const std::vector<int>& allowed, int node, unsigned count) {
  std::vector<int> chosen;
  Spread spread;
  while (chosen.size() < count) {
    const Cpu* best = nullptr;
    for (const Cpu& cpu : machine.cpus) {
      if (!Has(idle, cpu.id) || !Has(allowed, cpu.id) || Has(chosen, cpu.id)) continue;
      if (best == nullptr ||
          RankOf(machine, cpu, idle, node, spread) < RankOf(machine, *best, idle, node, spread))
        best = &cpu;
    }
    if (best == nullptr) break;
    chosen.push_back(best->id);
    ++spread.in_cache[best->cache];
    ++spread.on_core[best->core];
  }
  return chosen;
}

std::vector<int> FindIdleCpus(const std::string& root) {
  const auto before = ReadTicks(root);
  std::this_thread::sleep_for(std::chrono::milliseconds(kIdleSampleMs));
  std::vector<int> idle;
  for (const auto& [cpu, now] : ReadTicks(root)) {
    const auto then = before.find(cpu);
    if (then == before.end()) continue;
    // A tick of work in the sample is a tenth of it or more, and may be anybody's.
    if (now.busy - then->second.busy <= 1) idle.push_back(cpu);
  }
  return idle;
}

std::vector<int> AllowedCpus(const std::string& root, int pid) {
  const std::string process = root + "/proc/" + (pid == 0 ? "self" : std::to_string(pid));
  std::vector<int> cpus;
  if (!ParseIdList(StatusWord(process, "Cpus_allowed_list:"), &cpus)) return {};
  return cpus;
}

}  // namespace drover::topology
