#include "topology/nodes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace drover::topology {
namespace {

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// "Node 0 MemTotal:  123 kB" -> bytes
uint64_t MeminfoBytes(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string node, id, name;
    uint64_t kilobytes = 0;
    if (words >> node >> id >> name >> kilobytes && name == key + ":") return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

bool ParseIdList(const std::string& text, std::vector<int>* ids) {
  constexpr int kHighest = 65535;
  ids->clear();
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    int first = 0;
    const char* const end = item.data() + item.size();
    auto [at, error] = std::from_chars(item.data(), end, first);
    int last = first;
    if (error == std::errc() && at != end) {
      if (*at != '-') return false;
      const auto more = std::from_chars(at + 1, end, last);
      at = more.ptr, error = more.ec;
    }
    if (error != std::errc() || at != end || first < 0 || last < first || last > kHighest)
      return false;
    if (ids->size() + static_cast<size_t>(last - first) > kHighest) return false;
    for (int id = first; id <= last; ++id) ids->push_back(id);
  }
  return !ids->empty();
}

Nodes ReadNodes(const std::string& root) {
  const std::string base = root + "/sys/devices/system/node/";
  Nodes nodes;
  std::vector<int> memory;
  if (!ParseIdList(FirstLine(base + "online"), &nodes.all)) nodes.all = {0};
  if (!ParseIdList(FirstLine(base + "has_memory"), &memory)) memory = {0};
  for (const int id : memory) {
    const std::string meminfo = fmt::format("{}node{}/meminfo", base, id);
    nodes.with_memory.push_back(
        {id, MeminfoBytes(meminfo, "MemTotal"), MeminfoBytes(meminfo, "MemFree")});
  }
  return nodes;
}

const NodeInfo* Nodes::Find(int id) const {
  for (const NodeInfo& node : with_memory)
    if (node.id == id) return &node;
  return nullptr;
}

bool Nodes::HasMemory(int id) const {
  return Find(id) != nullptr;
}

bool Nodes::Exists(int id) const {
  return std::find(all.begin(), all.end(), id) != all.end();
}

uint32_t Nodes::id_limit() const {
  int highest = 0;
  for (const int id : all) highest = std::max(highest, id);
  for (const NodeInfo& node : with_memory) highest = std::max(highest, node.id);
  return static_cast<uint32_t>(highest) + 1;
}

std::string FormatIdList(const std::vector<int>& ids) {
  std::string text;
  for (size_t i = 0; i < ids.size();) {
    size_t last = i;
    while (last + 1 < ids.size() && ids[last + 1] == ids[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", ids[i]) : fmt::format("{}-{}", ids[i], ids[last]);
    i = last + 1;
  }
  return text;
}

std::string Nodes::MemoryList() const {
  std::vector<int> ids;
  for (const NodeInfo& node : with_memory) ids.push_back(node.id);
  return FormatIdList(ids);
}

}  // namespace drover::topology
