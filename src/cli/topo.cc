// drover topo: the machine, as far as moving memory cares.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/sizes.h"
#include "topology/machine.h"
#include "topology/nodes.h"

namespace drover::cli {
namespace {

std::string ListOf(const std::vector<int>& ids) {
  return ids.empty() ? "none" : topology::FormatIdList(ids);
}

struct Seen {
  topology::Machine machine;
  topology::Nodes memory;
  std::vector<uint64_t> huge_page_sizes;
  std::vector<topology::DmaEngine> dma;
};

uint64_t FreeOf(const Seen& seen, int node) {
  const auto* found = seen.memory.Find(node);
  return found == nullptr ? 0 : found->free_bytes;
}

void ShowTable(const Seen& seen) {
  if (!seen.machine.name.empty()) fmt::print("{}\n\n", seen.machine.name);
  fmt::print("{:>6} {:>12} {:>12}  {:<16} {}\n", "node", "memory", "free", "CPUs", "distances");
  for (const auto& node : seen.machine.nodes) {
    std::string distances;
    for (size_t i = 0; i < node.distances.size(); ++i)
      distances +=
          fmt::format("{}{}: {}", i > 0 ? ", " : "", seen.machine.nodes[i].id, node.distances[i]);
    fmt::print("{:>6} {:>12} {:>12}  {:<16} {}\n", node.id, HumanBytes(node.total_bytes),
               HumanBytes(FreeOf(seen, node.id)), ListOf(node.cpus),
               distances.empty() ? "not told" : distances);
  }
  fmt::print("\ncache domains\n");
  for (const auto& cache : seen.machine.caches)
    fmt::print("  L{} {:>10}  CPUs {}\n", cache.level, HumanBytes(cache.bytes), ListOf(cache.cpus));
  std::string sizes = "4 KiB";
  for (const uint64_t size : seen.huge_page_sizes) sizes += ", " + HumanBytes(size);
  fmt::print("\npage sizes     {}\n", sizes);
  if (seen.dma.empty()) fmt::print("DMA engines    none\n");
  for (const auto& engine : seen.dma)
    fmt::print("DMA engine     {} ({}){}\n", engine.name,
               engine.driver.empty() ? "no driver" : engine.driver,
               engine.node >= 0 ? fmt::format(", node {}", engine.node) : "");
}

nlohmann::json ToJson(const Seen& seen) {
  nlohmann::json nodes = nlohmann::json::array(), caches = nlohmann::json::array(),
                 dma = nlohmann::json::array();
  for (const auto& node : seen.machine.nodes)
    nodes.push_back({{"node", node.id},
                     {"bytes_total", node.total_bytes},
                     {"bytes_free", FreeOf(seen, node.id)},
                     {"cpus", node.cpus},
                     {"distances", node.distances}});
  for (const auto& cache : seen.machine.caches)
    caches.push_back({{"level", cache.level}, {"bytes", cache.bytes}, {"cpus", cache.cpus}});
  for (const auto& engine : seen.dma)
    dma.push_back({{"name", engine.name}, {"driver", engine.driver}, {"node", engine.node}});
  return {{"processor", seen.machine.name},
          {"nodes", nodes},
          {"cache_domains", caches},
          {"huge_page_bytes", seen.huge_page_sizes},
          {"dma_engines", dma}};
}

int Topo(bool json) {
  auto machine = topology::ReadMachine();
  if (!machine.has_value()) return Fail(machine.error());
  const Seen seen{std::move(*machine), topology::ReadNodes("/"), topology::ReadHugePageSizes("/"),
                  topology::ReadDmaEngines("/")};
  if (json) {
    auto document = JsonHead("topo");
    document.update(ToJson(seen));
    PrintJson(document);
  } else {
    ShowTable(seen);
  }
  return kExitDone;
}

}  // namespace

void AddTopo(CLI::App& app, Chosen& chosen) {
  auto* topo = app.add_subcommand(
      "topo", "nodes with free memory and distances, CPUs, cache domains, page sizes, DMA engines");
  auto json = std::make_shared<bool>(false);
  topo->add_flag("--json", *json, "one JSON document on stdout");
  topo->callback([=, &chosen] { chosen.run = [=] { return Topo(*json); }; });
}

}  // namespace drover::cli
