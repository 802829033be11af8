// What a person may get wrong: a one-line message with the way out, the documented exit code, and
// the target untouched.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "control/agents.h"
#include "live/command.h"

namespace drover::live {
namespace {

Outcome TryMove(int pid, std::vector<std::string> more) {
  std::vector<std::string> words = {Built("drover"), "move", std::to_string(pid)};
  words.insert(words.end(), more.begin(), more.end());
  return RunCommand(words);
}

TEST(BadInput, UnknownProcess) {
  const int gone = fork();
  if (gone == 0) std::_Exit(0);
  waitpid(gone, nullptr, 0);
  ExpectRefused(TryMove(gone, {"--to", "same"}), 4, "there is no process");
}

TEST(BadInput, Zombie) {
  const int zombie = fork();
  if (zombie == 0) std::_Exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT);
  ExpectRefused(TryMove(zombie, {"--to", "same"}), 4, "zombie");
  waitpid(zombie, nullptr, 0);
}

TEST(BadInput, KernelThread) {
  int thread = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const int pid = std::atoi(entry.path().filename().c_str());
    const auto process = pid > 0 ? control::ReadProcess(pid) : std::nullopt;
    if (process.has_value() && process->kernel_thread) thread = pid;
  }
  ASSERT_NE(thread, 0) << "kernel threads are hidden here: run outside a container";
  ExpectRefused(TryMove(thread, {"--to", "same"}), 4, "kernel thread");
}

TEST(BadInput, AnotherUsersProcess) {
  Subject subject({}, {"--mib", "1", "--idle"});
  ASSERT_NE(subject.pid(), 0);
  ExpectRefused(
      RunCommand({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                  Built("drover"), "move", std::to_string(subject.pid()), "--to", "same"}),
      5, "run drover as that user or as root");
  EXPECT_TRUE(subject.EndsRight());
}

TEST(BadInput, SharedPagesTakeTheRightToMoveThem) {
  Subject subject({}, {"--mib", "1", "--idle", "--user", "65534"});
  ASSERT_NE(subject.pid(), 0);
  ExpectRefused(
      RunCommand({"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                  Built("drover"), "move", std::to_string(subject.pid()), "--to", "0", "--shared"}),
      5, "CAP_SYS_NICE; run drover as root");
  EXPECT_TRUE(subject.EndsRight());
}

TEST(BadInput, ACopyOfItsOwnIsForAnAgentToMake) {
  Subject subject({}, {"--mib", "1", "--idle"});
  ASSERT_NE(subject.pid(), 0);
  ExpectRefused(TryMove(subject.pid(), {"--to", "same", "--unshare"}), 4,
                "start it by `drover run -- PROGRAM`");
  EXPECT_TRUE(subject.EndsRight());
}

struct BadWord {
  std::vector<std::string> words;
  int exit_code;
  const char* says;
};
class BadWords : public testing::TestWithParam<BadWord> {};
INSTANTIATE_TEST_SUITE_P(
    All, BadWords,
    testing::Values(
        BadWord{{"--to", "same", "--shared"}, 2, "cannot do `--to same`"},
        BadWord{{"--to", "63"}, 4, "node 63 does not exist"},
        BadWord{{"--to", "64"}, 4, "does not exist"},
        BadWord{{"--to", "4294967297"}, 2, "is no list of nodes"},
        BadWord{{"--to", "0x"}, 2, "is no list of nodes"},
        BadWord{{"--to", "0,0"}, 2, "names a node twice"},
        BadWord{{"--to", "0-"}, 2, "is no list of nodes"},
        BadWord{{"--to", "same", "--from", "0"}, 2, "takes no --from"}, BadWord{{}, 2, "--to"},
        BadWord{{"--to", "same", "--range", "0x1000-0x1000"}, 2, "is empty"},
        BadWord{{"--to", "same", "--range", "0x2000-0x1000"}, 2, "is empty"},
        BadWord{{"--to", "same", "--range", "0x1001-0x3000"}, 2, "off page boundaries"},
        BadWord{{"--to", "same", "--range", "0x1000+1"}, 2, "off page boundaries"},
        BadWord{{"--to", "same", "--range", "here"}, 2, "is no range"},
        BadWord{{"--to", "same", "--range", "0x1000-0x3000,0x2000-0x4000"}, 2, "overlap"},
        BadWord{{"--to", "same", "--range", "0x1000-0x2000"}, 4, "nothing is mapped"},
        BadWord{{"--to", "same", "--batch", "0"}, 2, "a batch of 0 bytes"},
        BadWord{{"--to", "same", "--batch", "32m"}, 2, "a batch of 33554432 bytes"},
        BadWord{{"--to", "same", "--batch", "five"}, 2, "is no size"},
        BadWord{{"--to", "same", "--max-stall", "fast"}, 2, "is no time"},
        BadWord{{"--to", "same", "--max-stall", "200"}, 2, "is no time"},
        BadWord{{"--to", "same", "--max-stall", "-1ms"}, 2, "is no time"},
        BadWord{{"--to", "same", "--max-stall", "1us"}, 2, "cannot be kept"},
        BadWord{{"--to", "same", "--max-stall", "11s"}, 2, "cannot be kept"},
        BadWord{{"--to", "same", "--over-budget"}, 2, "goes with --max-stall"},
        BadWord{{"--to", "same", "--migrator", "dma"}, 2, "is no copy engine"},
        BadWord{{"--to", "same", "--migrator", "threads:0"}, 2, "needs a number"},
        BadWord{{"--to", "same", "--migrator", "null"}, 2, "only with --verify"},
        BadWord{{"--to", "same", "--migrator", "fault:flip"}, 2, "only with --verify"},
        BadWord{{"--to", "same", "--migrator", "serial,serial"}, 2, "twice"},
        BadWord{{"--to", "same", "--reason", "whim"}, 2, "longterm_pin"},
        BadWord{{"--to", "same", "--mode", "fast"}, 2, "async,sync_light,sync"},
        BadWord{{"--to", "same", "--retry-for", "2"}, 2, "only --mode sync"},
        BadWord{{"--to", "same", "--mode", "sync", "--retry-for", "2h"}, 2, "ms,s"},
        BadWord{{"--to", "same", "--mode", "sync", "--retry-for", "-1"}, 2, "0 to 3600 s"},
        BadWord{{"--to", "0", "--reuse"}, 2, "--reuse goes with --to same"},
        BadWord{{"--to", "same", "--reuse", "--verify"}, 2, "--verify"},
        BadWord{{"--to", "same", "--page-size"}, 2, "--page-size"}));

TEST_P(BadWords, AreRefusedAndTheTargetIsUntouched) {
  Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  ExpectRefused(TryMove(subject.pid(), GetParam().words), GetParam().exit_code, GetParam().says);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(BadInput, ProgramsThatNoAgentCanBeIn) {
  ExpectRefused(RunCommand({Built("drover"), "run", "--", "/bin/busybox", "true"}), 4,
                "statically linked");
  ExpectRefused(RunCommand({Built("drover"), "run", "--", "/no/such/program"}), 4,
                "there is no program");
  char copy[] = "/tmp/drover-setuid-XXXXXX";
  close(mkstemp(copy));
  std::filesystem::copy_file("/bin/true", copy, std::filesystem::copy_options::overwrite_existing);
  ASSERT_EQ(chown(copy, 65534, 65534), 0);
  ASSERT_EQ(chmod(copy, 04755), 0);
  ExpectRefused(RunCommand({Built("drover"), "run", "--", copy}), 4, "set-uid");
  std::filesystem::remove(copy);
}

// No right to userfaultfd: the kernel path is taken, which has no second node here, and it is said.
TEST(BadInput, WithoutTheRightToUserfaultfd) {
  const std::vector<std::string> nobody = {"setpriv", "--reuid", "65534",
                                           "--regid", "65534",   "--clear-groups"};
  auto start = nobody, move = nobody;
  for (const auto& word : UnderDrover()) start.push_back(word);
  Subject subject(start, {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  for (const auto& word : {Built("drover"), std::string("move"), std::to_string(subject.pid()),
                           std::string("--to"), std::string("same"), std::string("--json")})
    move.push_back(word);
  const Outcome outcome = RunCommand(move);
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_NE(outcome.json()["own_path_refused"].get<std::string>().find("as root"),
            std::string::npos)
      << outcome.out;
  EXPECT_TRUE(subject.EndsRight());
}

TEST(BadInput, ASocketThatIsGone) {
  Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  const auto marker = control::FindServingMarker(*control::ReadProcess(subject.pid()));
  ASSERT_TRUE(marker.has_value() && marker->has_value());
  ASSERT_TRUE(std::filesystem::remove((*marker)->socket_path));
  ExpectRefused(TryMove(subject.pid(), {"--to", "same"}), 4, "cannot be reached");
  EXPECT_TRUE(subject.EndsRight());
}

// A process may call itself anything; that goes neither to a terminal nor breaks the JSON.
TEST(BadInput, NamesThatAreNoText) {
  const int child = fork();
  if (child == 0) {
    execl(Built("drover").c_str(), "drover", "run", "--", "sh", "-c", "sleep 3; true \xff \x1b[2J",
          nullptr);
    std::_Exit(1);
  }
  usleep(300'000);
  const Outcome json = RunCommand({Built("drover"), "ps", "--json"});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_FALSE(json.json().is_discarded()) << json.out;
  const Outcome table = RunCommand({Built("drover"), "ps"});
  EXPECT_NE(table.out.find(std::to_string(child)), std::string::npos) << table.out;
  EXPECT_EQ(table.out.find('\x1b'), std::string::npos);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(BadInput, StaleSocketsAreSwept) {
  std::filesystem::create_directories("/run/drover");
  const std::string stale = "/run/drover/4194304-abc";  // above the largest process id
  RunCommand({"sh", "-c", "exit 0"});
  ASSERT_EQ(mknod(stale.c_str(), S_IFSOCK | 0600, 0), 0);
  EXPECT_EQ(RunCommand({Built("drover"), "ps"}).exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(stale));
}

// A process that carries the marker of an agent of another version.
TEST(BadInput, AnAgentOfAnotherVersion) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const int child = fork();
  if (child == 0) {
    control::Marker marker;
    std::memcpy(marker.magic, control::Marker::kMagicText, sizeof marker.magic);
    marker.major = control::kMajor + 1;
    marker.state = static_cast<uint32_t>(control::Marker::State::kServing);
    marker.start_time_ticks = control::ReadProcess(getpid())->start_time_ticks;
    const int file = memfd_create("drover", 0);
    if (ftruncate(file, 4096) != 0 || write(file, &marker, sizeof marker) < 0) std::_Exit(1);
    mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    if (write(ready[1], "x", 1) != 1) std::_Exit(1);
    pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ExpectRefused(TryMove(child, {"--to", "same"}), 4,
                fmt::format("speaks version {}, this drover speaks {}", control::kMajor + 1,
                            control::kMajor));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

// Too little room below the limit of the control group (version 1 or 2, whichever is there).
TEST(BadInput, AControlGroupAtItsLimit) {
  namespace fs = std::filesystem;
  const bool first = fs::exists("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  const fs::path group = first ? "/sys/fs/cgroup/memory/drover-test" : "/sys/fs/cgroup/drover-test";
  if (!first) std::ofstream("/sys/fs/cgroup/cgroup.subtree_control") << "+memory";
  fs::create_directory(group);
  Subject subject(UnderDrover(), {"--mib", "16"});
  ASSERT_NE(subject.pid(), 0);
  std::ofstream(group / "cgroup.procs") << subject.pid();
  const char* usage_file = first ? "memory.usage_in_bytes" : "memory.current";
  const char* limit_file = first ? "memory.limit_in_bytes" : "memory.max";
  uint64_t usage = 0;
  std::ifstream(group / usage_file) >> usage;
  std::ofstream(group / limit_file) << usage + (2u << 20);
  uint64_t limit = 0;
  std::ifstream(group / limit_file) >> limit;
  ASSERT_LT(limit, usage + (16u << 20)) << "the memory controller is not to be had here";
  ExpectRefused(TryMove(subject.pid(), {"--to", "same"}), 4, "below its memory limit");
  EXPECT_TRUE(subject.EndsRight());
  for (int i = 0; i < 200 && fs::exists(group); ++i) {
    std::error_code busy;
    fs::remove(group, busy);
    usleep(10'000);
  }
  EXPECT_FALSE(fs::exists(group));
}

}  // namespace
}  // namespace drover::live
