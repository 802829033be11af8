// The commands that only look: what they say is what the kernel says, and what then happens.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "live/command.h"
#include "live/sleeper.h"

namespace drover::live {
namespace {

using Clock = std::chrono::steady_clock;

Outcome Drover(std::vector<std::string> words) {
  words.insert(words.begin(), Built("drover"));
  return RunCommand(words);
}

uint64_t PagesInStatus(const std::string& pid, const std::string& key) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string word; status >> word;) {
    uint64_t kilobytes = 0;
    if (word == key && status >> kilobytes) return kilobytes / 4;
  }
  return 0;
}

TEST(Topo, ShowsEveryNodeAndCpu) {
  const Outcome outcome = Drover({"topo", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  size_t cpus = 0;
  for (const auto& node : json["nodes"]) {
    cpus += node["cpus"].size();
    EXPECT_GT(node["bytes_total"].get<uint64_t>(), 0u);
    EXPECT_LE(node["bytes_free"].get<uint64_t>(), node["bytes_total"].get<uint64_t>());
  }
  EXPECT_EQ(cpus, static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  EXPECT_EQ(Drover({"topo"}).exit_code, 0);
}

// The sum over the kinds is what the kernel counts as resident, page for page.
TEST(Pages, AddUpToWhatTheKernelCounts) {
  const Sleeper sleeper([] {
    auto* huge = static_cast<char*>(
        mmap(nullptr, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(huge, 8 << 20, MADV_HUGEPAGE);
    for (size_t i = 0; i < 8 << 20; i += 4096) huge[i] = 1;
  });
  ASSERT_TRUE(sleeper.ready());
  const Outcome outcome = Drover({"pages", sleeper.pid(), "--by-mapping", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  const auto& total = json["total"];
  // VmRSS is kept per CPU and folded late.
  EXPECT_NEAR(total["pages_present"].get<double>(),
              static_cast<double>(PagesInStatus(sleeper.pid(), "VmRSS:")), 130);
  EXPECT_GE(total["pages_huge"].get<uint64_t>(), 512u);
  uint64_t of_mappings = 0, movable = 0, on_nodes = 0;
  for (const auto& mapping : json["mappings"])
    of_mappings += mapping["pages_present"].get<uint64_t>();
  for (const auto& [name, pages] : total["pages_movable"].items()) movable += pages.get<uint64_t>();
  for (const auto& [node, pages] : total["pages_on_node"].items())
    on_nodes += pages.get<uint64_t>();
  EXPECT_EQ(of_mappings, total["pages_present"]);
  EXPECT_EQ(movable, total["pages_present"]);
  EXPECT_EQ(on_nodes + total["pages_unplaced"].get<uint64_t>(), total["pages_present"]);
}

TEST(Pages, AnEmptyMappingOf16TiBCostsNothing) {
  constexpr size_t kBytes = size_t{16} << 40;
  const Sleeper sleeper([] {
    auto* start = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (start == MAP_FAILED) std::_Exit(1);
    madvise(start, kBytes, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 1000; ++i) start[i * (kBytes / 1000) / 4096 * 4096] = 1;
  });
  ASSERT_TRUE(sleeper.ready());
  const auto begin = Clock::now();
  const Outcome outcome = Drover({"pages", sleeper.pid(), "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GE(outcome.json()["kinds"]["private"]["pages_present"].get<uint64_t>(), 1000u);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(10));
}

TEST(Pages, OfAProcessWith60000Mappings) {
  constexpr int kMappings = 60'000;  // vm.max_map_count is 65,530
  const Sleeper sleeper([] {
    for (int i = 0; i < kMappings; ++i) {
      const int rights = i % 2 == 0 ? PROT_READ | PROT_WRITE : PROT_READ;  // so that none merge
      void* page = mmap(nullptr, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (page == MAP_FAILED) break;
      if (i % 2 == 0) *static_cast<char*>(page) = 1;
    }
  });
  ASSERT_TRUE(sleeper.ready());
  const Outcome outcome = Drover({"pages", sleeper.pid(), "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GE(outcome.json()["total"]["pages_present"].get<uint64_t>(), kMappings / 2u);
  EXPECT_EQ(Drover({"doctor", sleeper.pid(), "--json"}).exit_code, 0);
}

TEST(Pages, OfAProcessThatEndsMeanwhile) {
  const Sleeper sleeper([] {
    constexpr size_t kBytes = 512 << 20;
    auto* start = static_cast<char*>(
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < kBytes; i += 4096) start[i] = 1;
    if (fork() == 0) {  // ends its parent in the middle of the look
      usleep(30'000);
      kill(getppid(), SIGKILL);
      std::_Exit(0);
    }
  });
  const Outcome outcome = Drover({"pages", sleeper.pid(), "--by-mapping"});
  EXPECT_TRUE(outcome.exit_code == 6 || outcome.exit_code == 4 || outcome.exit_code == 0)
      << outcome.exit_code << outcome.err;
  if (outcome.exit_code != 0) {
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

struct Program {
  const char* name;
  std::vector<std::string> words;
};

// --dry-run's pages by path are what then happens, exactly.
class Plan : public testing::TestWithParam<Program> {};
INSTANTIATE_TEST_SUITE_P(Of, Plan,
                         testing::Values(Program{"sleep", {"sleep", "60"}},
                                         Program{"shell", {"sh", "-c", "sleep 60; true"}},
                                         Program{"tail", {"tail", "-f", "/dev/null"}},
                                         Program{"awk",
                                                 {"awk",
                                                  "BEGIN { for (i = 0; i < 200000; ++i) a[i] = i; "
                                                  "system(\"sleep 60\") }"}}),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_P(Plan, SaysWhatThenHappens) {
  const Sleeper sleeper([] {
    auto words = GetParam().words;
    words.insert(words.begin(), {Built("drover"), "run", "--"});
    if (fork() != 0) return;
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    std::_Exit(1);
  });
  usleep(400'000);
  std::ifstream children("/proc/" + sleeper.pid() + "/task/" + sleeper.pid() + "/children");
  std::string pid;
  ASSERT_TRUE(children >> pid);
  const Outcome plan = Drover({"move", pid, "--to", "same", "--dry-run", "--json"});
  const Outcome move = Drover({"move", pid, "--to", "same", "--json"});
  kill(std::atoi(pid.c_str()), SIGKILL);
  ASSERT_TRUE(plan.exit_code == 0 || plan.exit_code == 3) << plan.err;
  const auto said = plan.json(), done = move.json();
  EXPECT_EQ(plan.exit_code, move.exit_code);
  EXPECT_EQ(said["pages_requested"], done["pages_requested"]);
  EXPECT_EQ(said["pages_to_move"], done["pages_moved"]);
  EXPECT_EQ(said["by_path"], done["by_path"]);
  EXPECT_EQ(said["not_moved"], done["not_moved"]) << said << done;
  EXPECT_GT(said["by_path"]["own"].get<uint64_t>(), 0u);
  EXPECT_TRUE(said["seconds"].is_number());
}

// The trial of a plan has the CPUs to itself, or shares them; the move shares them with the
// program.
TEST(Plan, SaysThatNoCpuIsIdle) {
  const auto cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  Subject subject(UnderDrover(), {"--mib", "4", "--threads", std::to_string(2 * cpus)});
  const std::string pid = std::to_string(subject.pid());
  const Outcome plan = Drover({"move", pid, "--to", "same", "--dry-run", "--json"});
  EXPECT_EQ(plan.json()["idle_cpus"], 0) << plan.out << plan.err;
  const Outcome table = Drover({"move", pid, "--to", "same", "--dry-run"});
  EXPECT_NE(table.out.find("no CPU is idle"), std::string::npos) << table.out;
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::live
