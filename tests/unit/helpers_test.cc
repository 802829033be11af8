// Where helpers are put, on recorded machines (tests/unit/machines): each file describes one and
// says what is expected there.
#include "topology/helpers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "library/helper_cpus.h"
#include "topology/nodes.h"

namespace drover::topology {
namespace {

struct Case {
  std::string line;
  int node = 0;
  unsigned count = 0;
  std::vector<int> idle, allowed, expected;
};

struct Recorded {
  Machine machine;
  std::vector<Case> cases;
};

std::vector<int> Ids(const std::string& text) {
  std::vector<int> ids;
  if (text != "-") {
    EXPECT_TRUE(ParseIdList(text, &ids)) << text;
  }
  return ids;
}

void ReadNode(std::istringstream& words, Machine& machine) {
  MachineNode node;
  words >> node.id;
  for (std::string word; words >> word;) {
    if (word == "cpus" && words >> word) node.cpus = Ids(word);
    for (uint64_t distance; word == "distances" && words >> distance;)
      node.distances.push_back(distance);
  }
  for (const int id : node.cpus) machine.cpus.push_back({.id = id, .node = node.id});
  machine.nodes.push_back(node);
}

// "caches 8 siblings 128": eight CPUs in a row share a cache, and CPU n a core with n + 128.
void ReadCaches(std::istringstream& words, Machine& machine) {
  int size = 0, siblings = 0;
  words >> size;
  std::vector<int> pairs, slow;
  for (std::string word; words >> word;) {
    if (word == "siblings") words >> siblings;
    if (word == "pairs" && words >> word) pairs = Ids(word);
    if (word == "slow" && words >> word) slow = Ids(word);
  }
  for (Cpu& cpu : machine.cpus) {
    const int first = siblings > 0 ? cpu.id % siblings : cpu.id;
    cpu.cache = first / size;
    cpu.core =
        std::find(pairs.begin(), pairs.end(), cpu.id) != pairs.end() ? cpu.id / 2 * 2 : first;
    cpu.speed = std::find(slow.begin(), slow.end(), cpu.id) != slow.end() ? 0 : 1;
  }
}

Case ReadCase(const std::string& line, const std::vector<int>& all) {
  Case read{.line = line, .idle = all, .allowed = all, .expected = {}};
  std::istringstream words(line);
  for (std::string word; words >> word && word != "=";) {
    if (word == "node") words >> read.node;
    if (word == "count") words >> read.count;
    if (word == "idle" && words >> word) read.idle = Ids(word);
    if (word == "allowed" && words >> word) read.allowed = Ids(word);
  }
  for (int id; words >> id;) read.expected.push_back(id);
  return read;
}

Recorded ReadRecorded(const std::filesystem::path& path) {
  Recorded read;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    std::vector<int> all;
    for (const Cpu& cpu : read.machine.cpus) all.push_back(cpu.id);
    if (kind == "node") ReadNode(words, read.machine);
    if (kind == "caches") ReadCaches(words, read.machine);
    if (kind == "place") read.cases.push_back(ReadCase(line, all));
  }
  return read;
}

std::vector<std::string> Files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(DROVER_MACHINES))
    files.push_back(entry.path().stem());
  std::sort(files.begin(), files.end());
  return files;
}

class Helpers : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Machines, Helpers, testing::ValuesIn(Files()), [](const auto& file) {
  std::string name = file.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST_P(Helpers, ArePutWhereTheMachinesFileSays) {
  const Recorded recorded =
      ReadRecorded(std::filesystem::path(DROVER_MACHINES) / (GetParam() + ".txt"));
  ASSERT_GE(recorded.cases.size(), 2u);
  for (const Case& asked : recorded.cases)
    EXPECT_EQ(PlaceHelpers(recorded.machine, asked.idle, asked.allowed, asked.node, asked.count),
              asked.expected)
        << asked.line;
}

TEST(IdleCpus, AreThoseThatDidNothing) {
  const auto root = std::filesystem::temp_directory_path() / "drover-idle-cpus";
  std::filesystem::create_directories(root / "proc/self");
  std::ofstream(root / "proc/stat") << "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 5 0 0 90 5 0 0 0 0 0\n"
                                       "cpu2 5 0 0 90 5 0 0 0 0 0\nintr 1\n";
  // Nothing counts up: everything that is there is idle, and what is offline is not there.
  EXPECT_EQ(FindIdleCpus(root), (std::vector<int>{0, 2}));
  std::ofstream(root / "proc/self/status")
      << "Name:\tx\nCpus_allowed:\t5\nCpus_allowed_list:\t0,2-3\n";
  EXPECT_EQ(AllowedCpus(root, 0), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(AllowedCpus(root, 17), std::vector<int>());
  std::filesystem::remove_all(root);
}

// For a job with one helper on CPUs 0 and 1.
TEST(IdleCpus, AreLookedForAgainWhereTooFewOfThoseAllowedAre) {
  const auto root = std::filesystem::temp_directory_path() / "drover-few-idle-cpus";
  std::filesystem::create_directories(root / "proc/self");
  std::ofstream(root / "proc/self/status") << "Cpus_allowed_list:\t0-1\n";
  const auto idle = [&](std::initializer_list<int> cpus) {
    std::ofstream stat(root / "proc/stat");
    for (const int cpu : cpus) stat << "cpu" << cpu << " 5 0 0 90 5 0 0 0 0 0\n";
  };
  Machine machine;
  for (const int cpu : {0, 1, 2, 3}) machine.cpus.push_back({.id = cpu, .node = 0});
  library::HelperCpus helpers(root, machine);
  flow::Job job;
  job.engine_count = 1;
  job.engines[0] = {.kind = migrators::Kind::kThreads, .count = 2};
  const auto placed = [&] {
    helpers.Place(&job, 0);
    return job.helper_count;
  };
  idle({0, 2, 3});
  EXPECT_EQ(placed(), 0u);
  idle({0, 1});
  EXPECT_EQ(placed(), 0u) << "no look at each job";
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(placed(), 1u);
  idle({});
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_EQ(placed(), 1u) << "what was enough is believed for longer";
  std::filesystem::remove_all(root);
}

// A node number without a node, as between two sockets of which one is empty.
TEST(Nodes, WithAHoleInTheirNumbers) {
  const auto root = std::filesystem::temp_directory_path() / "drover-nodes";
  const auto nodes = root / "sys/devices/system/node";
  for (const char* node : {"node0", "node2"}) {
    std::filesystem::create_directories(nodes / node);
    std::ofstream(nodes / node / "meminfo")
        << "Node 0 MemTotal:  1024 kB\nNode 0 MemFree:   512 kB\n";
  }
  std::ofstream(nodes / "online") << "0,2\n";
  std::ofstream(nodes / "possible") << "0-3\n";
  std::ofstream(nodes / "has_memory") << "0,2\n";
  const Nodes read = ReadNodes(root);
  EXPECT_EQ(read.MemoryList(), "0,2");
  EXPECT_TRUE(read.HasMemory(2));
  EXPECT_FALSE(read.HasMemory(1));
  EXPECT_FALSE(read.Exists(1));
  EXPECT_EQ(read.id_limit(), 3u);
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace drover::topology
