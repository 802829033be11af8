// drover pages: where a process's memory is, of what size, and how it can be moved.
#include "report/pages.h"

#include <fmt/format.h>

#include <fstream>

#include "cli/command.h"
#include "cli/inventory.h"
#include "control/agents.h"
#include "topology/nodes.h"

namespace drover::cli {
namespace {

struct PagesOptions {
  int pid = 0;
  bool by_mapping = false, json = false;
};

double MiB(uint64_t pages) {
  return static_cast<double>(pages) / 256;
}

std::vector<int> NodesToShow() {
  std::vector<int> ids;
  for (const auto& node : topology::ReadNodes("/").with_memory)
    if (node.id < static_cast<int>(flow::kNodesMax)) ids.push_back(node.id);
  return ids;
}

std::string Columns(const PageCounts& pages, const std::vector<int>& nodes) {
  std::string text;
  for (const int node : nodes)
    text += fmt::format("{:>14.2f}", MiB(pages.on_node[static_cast<size_t>(node)]));
  return text + fmt::format("{:>14.2f}", MiB(pages.present));
}

nlohmann::json ToJson(const PageCounts& pages, const std::vector<int>& nodes) {
  nlohmann::json on_node = nlohmann::json::object();
  for (const int node : nodes)
    on_node[std::to_string(node)] = pages.on_node[static_cast<size_t>(node)];
  nlohmann::json movable = nlohmann::json::object();
  static constexpr const char* kKeys[kMovabilities] = {"own_path", "kernel_path", "not"};
  for (size_t i = 0; i < kMovabilities; ++i) movable[kKeys[i]] = pages.movable[i];
  return {{"pages_present", pages.present},
          {"pages_on_node", on_node},
          {"pages_unplaced", pages.unplaced},
          {"pages_huge", pages.huge},
          {"pages_zero", pages.zero},
          {"pages_swapped", pages.swapped},
          {"pages_movable", movable},
          {"causes", report::NotMovedToJson(report::CausesOf(pages.why))}};
}

// As the kernel counts them for the process (Linux 6.1); 0 where it does not tell.
uint64_t MergedPages(int pid) {
  uint64_t pages = 0;
  std::ifstream(fmt::format("/proc/{}/ksm_merging_pages", pid)) >> pages;
  return pages;
}

struct Totals {
  std::array<PageCounts, kMemoryKinds> of_kind = {};
  PageCounts all;
};

std::string Line(const MappingCounts& counts, const std::vector<int>& nodes) {
  std::string text = fmt::format("{:012x}-{:012x} {}", counts.mapping.range.start,
                                 counts.mapping.range.end(), counts.rights);
  for (const int node : nodes)
    text += fmt::format(" N{}={}", node, counts.pages.on_node[static_cast<size_t>(node)]);
  if (counts.pages.huge > 0) text += fmt::format(" huge={}", counts.pages.huge);
  if (counts.pages.zero > 0) text += fmt::format(" zero={}", counts.pages.zero);
  if (counts.pages.swapped > 0) text += fmt::format(" swapped={}", counts.pages.swapped);
  const uint64_t stay = counts.pages.movable[static_cast<size_t>(Movability::kNot)];
  if (stay > 0) text += fmt::format(" stay={}", stay);
  const uint64_t own = counts.pages.movable[static_cast<size_t>(Movability::kOwnPath)];
  const char* before = " ";
  const auto add = [&](uint64_t pages, const std::string& words) {
    text += fmt::format("{}{} {}", before, pages, words);
    before = "; ";
  };
  if (own > 0) add(own, "own path");
  for (const NotMoved& cause : report::CausesOf(counts.pages.why)) add(cause.pages, cause.why);
  return text + (counts.name.empty() ? "" : "  " + counts.name) + "\n";
}

void ShowTable(const control::ProcessInfo& process, const Totals& totals,
               const std::vector<int>& nodes) {
  fmt::print("Memory of process {} ({}), in MiB\n", process.pid, process.name);
  fmt::print("{:<16}", "");
  for (const int node : nodes) fmt::print("{:>14}", fmt::format("Node {}", node));
  fmt::print("{:>14}\n", "Total");
  for (size_t kind = 0; kind < kMemoryKinds; ++kind)
    if (totals.of_kind[kind].present > 0)
      fmt::print("{:<16}{}\n", NameOf(static_cast<MemoryKind>(kind)),
                 Columns(totals.of_kind[kind], nodes));
  fmt::print("{:<16}{}\n\n", "Total", Columns(totals.all, nodes));
  const PageCounts& all = totals.all;
  fmt::print("page size        4K {:.2f}, 2M {:.2f}\n", MiB(all.present - all.huge), MiB(all.huge));
  fmt::print("movable         ");
  for (size_t i = 0; i < kMovabilities; ++i)
    fmt::print("{} {} {:.2f}", i > 0 ? "," : "", NameOf(static_cast<Movability>(i)),
               MiB(all.movable[i]));
  fmt::print("\nnot resident     zero page {:.2f}, swapped or guarded {:.2f}\n", MiB(all.zero),
             MiB(all.swapped));
  const auto causes = report::CausesOf(all.why);
  if (!causes.empty())
    fmt::print("not by the own path, in pages:\n{}", report::NotMovedToTable(causes));
  if (const uint64_t merged = MergedPages(process.pid); merged > 0)
    fmt::print("{} of the shared pages are merged with equal ones (KSM)\n", merged);
  fmt::print(
      "That a page is pinned shows only when it is moved. `drover doctor {}` says which path this\n"
      "process takes.\n",
      process.pid);
}

int Pages(const PagesOptions& options) {
  const auto process = control::CheckTarget(options.pid);
  if (!process.has_value()) return Fail(process.error());
  const std::vector<int> nodes = NodesToShow();
  Totals totals;
  auto document = JsonHead("pages");
  if (options.by_mapping && options.json) document["mappings"] = nlohmann::json::array();
  const auto visit = [&](const MappingCounts& counts) {
    totals.of_kind[static_cast<size_t>(counts.kind)].Add(counts.pages);
    totals.all.Add(counts.pages);
    if (!options.by_mapping) return;
    if (!options.json) {
      fmt::print("{}", Line(counts, nodes));
      return;
    }
    auto entry = ToJson(counts.pages, nodes);
    entry["start"] = fmt::format("{:#x}", counts.mapping.range.start);
    entry["end"] = fmt::format("{:#x}", counts.mapping.range.end());
    entry["rights"] = counts.rights;
    entry["name"] = counts.name;
    entry["kind"] = NameOf(counts.kind);
    entry["why_not_own_path"] = counts.why;
    document["mappings"].push_back(entry);
  };
  if (const auto walked = WalkMemory(options.pid, visit); !walked.has_value())
    return Fail(walked.error());
  if (!options.json) {
    if (options.by_mapping) fmt::print("\n");
    ShowTable(*process, totals, nodes);
    return kExitDone;
  }
  document["pid"] = options.pid;
  document["name"] = process->name;
  document["pages_merged"] = MergedPages(options.pid);
  document["total"] = ToJson(totals.all, nodes);
  document["kinds"] = nlohmann::json::object();
  for (size_t kind = 0; kind < kMemoryKinds; ++kind)
    if (totals.of_kind[kind].present > 0)
      document["kinds"][NameOf(static_cast<MemoryKind>(kind))] =
          ToJson(totals.of_kind[kind], nodes);
  PrintJson(document);
  return kExitDone;
}

}  // namespace

void AddPages(CLI::App& app, Chosen& chosen) {
  auto* pages = app.add_subcommand(
      "pages", "resident memory of a process by node, kind, page size and movability");
  auto options = std::make_shared<PagesOptions>();
  pages->add_option("PID", options->pid, "the process")->required()->check(CLI::PositiveNumber);
  pages->add_flag("--by-mapping", options->by_mapping, "and each mapping that has pages, in pages");
  pages->add_flag("--json", options->json, "one JSON document on stdout");
  pages->footer(
      "`own path` says what drover could move itself if the process had the agent;\n"
      "`drover doctor PID` says whether it may.");
  pages->callback([=, &chosen] { chosen.run = [=] { return Pages(*options); }; });
}

}  // namespace drover::cli
