#include "topology/machine.h"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

namespace drover::topology {
namespace {

using Topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;

std::vector<int> IdsOf(hwloc_const_bitmap_t set) {
  std::vector<int> ids;
  if (set == nullptr) return ids;
  for (int id = hwloc_bitmap_first(set); id >= 0; id = hwloc_bitmap_next(set, id))
    ids.push_back(id);
  return ids;
}

// The largest cache above a CPU.
hwloc_obj_t LastCacheOf(hwloc_obj_t cpu) {
  hwloc_obj_t last = nullptr;
  for (hwloc_obj_t at = cpu; at != nullptr; at = at->parent)
    if (hwloc_obj_type_is_dcache(at->type)) last = at;
  return last;
}

void ReadDistances(hwloc_topology_t topology, Machine& machine) {
  unsigned count = 1;
  hwloc_distances_s* distances = nullptr;
  if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &count, &distances,
                                  HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 ||
      count == 0)
    return;
  const auto row_of = [&](int id) {
    for (unsigned i = 0; i < distances->nbobjs; ++i)
      if (static_cast<int>(distances->objs[i]->os_index) == id) return static_cast<int>(i);
    return -1;
  };
  for (MachineNode& from : machine.nodes)
    for (const MachineNode& to : machine.nodes) {
      const int row = row_of(from.id), column = row_of(to.id);
      if (row < 0 || column < 0) continue;
      from.distances.push_back(distances->values[static_cast<unsigned>(row) * distances->nbobjs +
                                                 static_cast<unsigned>(column)]);
    }
  hwloc_distances_release(topology, distances);
}

void ReadCpus(hwloc_topology_t topology, Machine& machine) {
  std::vector<hwloc_obj_t> caches;
  const int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
  for (int i = 0; i < count; ++i) {
    const hwloc_obj_t object =
        hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, static_cast<unsigned>(i));
    Cpu cpu;
    cpu.id = static_cast<int>(object->os_index);
    cpu.node = object->nodeset != nullptr ? hwloc_bitmap_first(object->nodeset) : -1;
    const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, object);
    if (core != nullptr) cpu.core = static_cast<int>(core->logical_index);
    if (const hwloc_obj_t cache = LastCacheOf(object); cache != nullptr) {
      auto at = std::find(caches.begin(), caches.end(), cache);
      if (at == caches.end()) {
        at = caches.insert(caches.end(), cache);
        machine.caches.push_back({cache->attr->cache.size,
                                  static_cast<int>(cache->attr->cache.depth),
                                  IdsOf(cache->cpuset)});
      }
      cpu.cache = static_cast<int>(at - caches.begin());
    }
    const int kind = hwloc_cpukinds_get_by_cpuset(topology, object->cpuset, 0);
    if (kind >= 0) cpu.speed = kind;  // hwloc sorts kinds by rising efficiency
    machine.cpus.push_back(cpu);
    // hwloc gives a memory-only node the CPUs of what it hangs on; its own it has none.
    for (MachineNode& node : machine.nodes)
      if (node.id == cpu.node) node.cpus.push_back(cpu.id);
  }
  for (MachineNode& node : machine.nodes) std::sort(node.cpus.begin(), node.cpus.end());
  std::sort(machine.cpus.begin(), machine.cpus.end(),
            [](const Cpu& a, const Cpu& b) { return a.id < b.id; });
}

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

int NumberIn(const std::filesystem::path& path) {
  std::ifstream file(path);
  int value = -1;
  return file >> value ? value : -1;
}

}  // namespace

std::expected<Machine, Error> ReadMachine(const std::string& xml) {
  hwloc_topology_t made = nullptr;
  if (hwloc_topology_init(&made) != 0)
    return std::unexpected(Error{Error::Kind::kFailed, "hwloc could not be started"});
  const Topology topology(made, hwloc_topology_destroy);
  if (!xml.empty() && hwloc_topology_set_xml(made, xml.c_str()) != 0)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, fmt::format("{} is no machine recorded by lstopo", xml)});
  if (hwloc_topology_load(made) != 0)
    return std::unexpected(
        Error{Error::Kind::kFailed, "hwloc could not read the machine; is /sys mounted?"});
  Machine machine;
  const char* name = hwloc_obj_get_info_by_name(hwloc_get_root_obj(made), "CPUModel");
  if (name == nullptr) {
    const hwloc_obj_t package = hwloc_get_obj_by_type(made, HWLOC_OBJ_PACKAGE, 0);
    name = package != nullptr ? hwloc_obj_get_info_by_name(package, "CPUModel") : nullptr;
  }
  if (name != nullptr) machine.name = name;
  const int nodes = hwloc_get_nbobjs_by_type(made, HWLOC_OBJ_NUMANODE);
  for (int i = 0; i < nodes; ++i) {
    const hwloc_obj_t object =
        hwloc_get_obj_by_type(made, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(i));
    machine.nodes.push_back(
        {static_cast<int>(object->os_index), object->attr->numanode.local_memory, {}, {}});
  }
  std::sort(machine.nodes.begin(), machine.nodes.end(),
            [](const MachineNode& a, const MachineNode& b) { return a.id < b.id; });
  ReadCpus(made, machine);
  ReadDistances(made, machine);
  return machine;
}

std::vector<uint64_t> ReadHugePageSizes(const std::string& root) {
  std::vector<uint64_t> sizes;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(root + "/sys/kernel/mm/hugepages", error)) {
    unsigned long kilobytes = 0;
    if (std::sscanf(entry.path().filename().c_str(), "hugepages-%lukB", &kilobytes) == 1)
      sizes.push_back(uint64_t{kilobytes} << 10);
  }
  std::sort(sizes.begin(), sizes.end());
  return sizes;
}

std::vector<DmaEngine> ReadDmaEngines(const std::string& root) {
  std::vector<DmaEngine> engines;
  std::error_code error;
  for (const char* folder : {"/sys/class/dma", "/sys/bus/dsa/devices"})
    for (const auto& entry : std::filesystem::directory_iterator(root + folder, error)) {
      const auto device = entry.path() / "device";
      DmaEngine engine;
      engine.name = entry.path().filename();
      engine.driver = std::filesystem::read_symlink(device / "driver", error).filename();
      engine.node = NumberIn(device / "numa_node");
      if (engine.node < 0) engine.node = NumberIn(entry.path() / "numa_node");
      if (engine.driver.empty()) engine.driver = FirstLine(entry.path() / "type");
      engines.push_back(engine);
    }
  std::sort(engines.begin(), engines.end(),
            [](const DmaEngine& a, const DmaEngine& b) { return a.name < b.name; });
  return engines;
}

}  // namespace drover::topology
