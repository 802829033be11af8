// Running moves, seen and steered from another shell; and moves of several processes.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "live/command.h"

namespace drover::live {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

// Slow enough to be met in its midst, on every machine.
constexpr const char* kSlowly = "4m/s";

Json Jobs(const std::vector<std::string>& words) {
  std::vector<std::string> all = {Built("drover")};
  all.insert(all.end(), words.begin(), words.end());
  all.push_back("--json");
  const Outcome outcome = RunCommand(all, 90);
  Json json = outcome.json();
  if (!json.is_object()) json = {{"said", outcome.err}};
  json["command_exit_code"] = outcome.exit_code;
  return json;
}

int Begin(std::vector<std::string> words) {
  words.insert(words.begin(), {"move", "--detach", "--to", "same"});
  const Json begun = Jobs(words);
  EXPECT_EQ(begun["command_exit_code"], 0) << begun;
  return begun.value("job", 0);
}

Json StateOf(int job) {
  const Json list = Jobs({"jobs"});
  for (const Json& each : list["jobs"])
    if (each["job"] == job) return each;
  return {};
}

// Until it has moved something, or has ended.
Json AwaitBegun(int job) {
  Json state;
  for (int i = 0; i < 200; ++i, std::this_thread::sleep_for(20ms)) {
    state = StateOf(job);
    if (state.is_null() || state["state"] == "ended" || state["pages_done"] > 0) break;
  }
  return state;
}

Json AwaitEnd(int job) {
  for (int i = 0; i < 600; ++i, std::this_thread::sleep_for(50ms))
    if (const Json state = StateOf(job); state.is_null() || state["state"] == "ended") break;
  return Jobs({"jobs", std::to_string(job)});
}

TEST(Jobs, ArePausedResumedAndCancelled) {
  Subject subject(UnderDrover(), {"--mib", "32"});
  ASSERT_NE(subject.pid(), 0);
  const int job = Begin({std::to_string(subject.pid()), "--rate", kSlowly, "--batch", "64k"});
  ASSERT_GT(job, 0);
  const std::string number = std::to_string(job);
  const Json begun = AwaitBegun(job);
  EXPECT_EQ(begun["state"], "running") << begun;
  EXPECT_EQ(begun["pid"], subject.pid());
  EXPECT_EQ(begun["detached"], true);

  EXPECT_EQ(Jobs({"pause", number})["state"], "paused");
  const auto done = StateOf(job)["pages_done"].get<uint64_t>();
  std::this_thread::sleep_for(300ms);
  const Json later = StateOf(job);
  EXPECT_EQ(later["state"], "paused");
  EXPECT_EQ(later["pages_done"], done);

  EXPECT_EQ(Jobs({"resume", number})["state"], "running");
  for (int i = 0; i < 100 && StateOf(job)["pages_done"].get<uint64_t>() == done; ++i)
    std::this_thread::sleep_for(20ms);
  EXPECT_GT(StateOf(job)["pages_done"].get<uint64_t>(), done);

  const Json stopped = Jobs({"cancel", number});
  EXPECT_EQ(stopped["state"], "ended");
  const Json ended = Jobs({"jobs", number});
  EXPECT_EQ(ended["command_exit_code"], 130);
  EXPECT_EQ(ended["report"]["interrupted"], true) << ended;
  EXPECT_GT(ended["report"]["pages_moved"], 0);
  EXPECT_LT(ended["report"]["pages_moved"], 32 * 256);
  const Json again = Jobs({"jobs", number});  // its report has been taken
  EXPECT_EQ(again["command_exit_code"], 6) << again;
  EXPECT_TRUE(subject.EndsRight());
}

// The same again and again, at any moment; the state is what was asked for every time.
TEST(Jobs, AgainAndAgain) {
  Subject subject(UnderDrover(), {"--mib", "16"});
  ASSERT_NE(subject.pid(), 0);
  for (int cycle = 0; cycle < 16; ++cycle) {
    const int job = Begin({std::to_string(subject.pid()), "--rate", "64m/s", "--batch", "16k"});
    ASSERT_GT(job, 0) << cycle;
    const std::string number = std::to_string(job);
    std::this_thread::sleep_for(std::chrono::milliseconds(cycle % 7 * 5));
    const Json paused = Jobs({"pause", number});
    if (paused["command_exit_code"] == 0) {
      EXPECT_EQ(paused["state"], "paused") << cycle << paused;
      EXPECT_EQ(Jobs({"resume", number})["state"], "running") << cycle;
    } else {
      EXPECT_EQ(paused["command_exit_code"], 6) << paused;
      EXPECT_EQ(StateOf(job)["state"], "ended") << cycle;
    }
    Json ended;
    if (cycle % 2 == 0) {
      EXPECT_EQ(Jobs({"cancel", number})["state"], "ended") << cycle;
      ended = Jobs({"jobs", number});
    } else {
      ended = AwaitEnd(job);
      EXPECT_GE(ended["report"]["pages_moved"], 16 * 256 * 95 / 100) << cycle << ended;
    }
    const bool interrupted = ended["report"]["interrupted"].get<bool>();
    EXPECT_TRUE(cycle % 2 == 0 || !interrupted) << cycle;
    EXPECT_EQ(ended["command_exit_code"], interrupted ? 130 : 3) << ended;
    EXPECT_EQ(ended["report"]["pages_requested"],
              ended["report"]["pages_moved"].get<uint64_t>() +
                  ended["report"]["pages_already_there"].get<uint64_t>() +
                  ended["report"]["pages_gone"].get<uint64_t>() +
                  ended["report"]["pages_not_moved"].get<uint64_t>());
  }
  EXPECT_TRUE(subject.EndsRight());
}

// A job that is killed leaves the program as it was, and no trace of itself.
TEST(Jobs, OneThatIsKilled) {
  Subject subject(UnderDrover(), {"--mib", "32"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const int job = Begin({pid, "--rate", kSlowly});
  (void)AwaitBegun(job);
  (void)Jobs({"pause", std::to_string(job)});
  kill(job, SIGKILL);
  for (int i = 0; i < 100 && kill(job, 0) == 0; ++i) std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(StateOf(job).is_null());
  EXPECT_EQ(Jobs({"cancel", std::to_string(job)})["command_exit_code"], 6);
  // The agent has noticed, and takes the next one.
  EXPECT_GE(Jobs({"move", pid, "--to", "same"})["pages_moved"], 32 * 256 * 95 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

// The program gives root away while its move is paused: so do the engine's threads, at once.
TEST(Jobs, WhoseProgramDropsItsRights) {
  Subject subject(UnderDrover(), {"--mib", "32", "--uses-later", "nobody"});
  ASSERT_NE(subject.pid(), 0);
  const int job = Begin({std::to_string(subject.pid()), "--rate", kSlowly, "--batch", "64k",
                         "--migrator", "threads:2"});
  (void)AwaitBegun(job);
  const std::string number = std::to_string(job);
  EXPECT_EQ(Jobs({"pause", number})["state"], "paused");
  const auto threads_of_root = [&] {
    int count = 0;
    const std::string tasks = "/proc/" + std::to_string(subject.pid()) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("Uid:")) count += line.find("\t0") != std::string::npos ? 1 : 0;
    }
    return count;
  };
  EXPECT_GT(threads_of_root(), 0);
  kill(subject.pid(), SIGUSR2);
  for (int i = 0; i < 250 && threads_of_root() > 0; ++i) std::this_thread::sleep_for(20ms);
  EXPECT_EQ(threads_of_root(), 0);
  EXPECT_EQ(StateOf(job)["state"], "paused");
  EXPECT_EQ(Jobs({"resume", number})["state"], "running");
  EXPECT_EQ(Jobs({"cancel", number})["state"], "ended");
  (void)Jobs({"jobs", number});
  EXPECT_TRUE(subject.EndsRight());
}

// A job that is stopped is not one that is gone.
TEST(Jobs, OneThatDoesNotAnswer) {
  Subject subject(UnderDrover(), {"--mib", "16"});
  ASSERT_NE(subject.pid(), 0);
  const int job = Begin({std::to_string(subject.pid()), "--rate", kSlowly});
  const std::string number = std::to_string(job);
  kill(job, SIGSTOP);
  // (Its threads stop one after another, and on a busy machine not at once.)
  for (int i = 0; i < 100 && StateOf(job)["state"] != "silent"; ++i)
    std::this_thread::sleep_for(20ms);
  EXPECT_EQ(StateOf(job)["state"], "silent");
  ExpectRefused(RunCommand({Built("drover"), "cancel", number}), 1, "does not answer");
  kill(job, SIGCONT);
  EXPECT_EQ(Jobs({"cancel", number})["state"], "ended");
  (void)Jobs({"jobs", number});
  EXPECT_TRUE(subject.EndsRight());
}

// The program ends while its move is paused.
TEST(Jobs, WhoseProcessEnds) {
  std::optional<Subject> subject(std::in_place, UnderDrover(),
                                 std::vector<std::string>{"--mib", "32"});
  ASSERT_NE(subject->pid(), 0);
  const int job = Begin({std::to_string(subject->pid()), "--rate", kSlowly});
  (void)AwaitBegun(job);
  EXPECT_EQ(Jobs({"pause", std::to_string(job)})["state"], "paused");
  EXPECT_TRUE(subject->EndsRight());
  subject.reset();
  EXPECT_EQ(AwaitEnd(job)["command_exit_code"], 6);
}

TEST(Jobs, HaveATimeAndARate) {
  Subject subject(UnderDrover(), {"--mib", "32"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const Json cut =
      Jobs({"move", pid, "--to", "same", "--rate", kSlowly, "--for", "1s", "--batch", "64k"});
  EXPECT_EQ(cut["command_exit_code"], 3);
  EXPECT_GE(cut["seconds"], 0.9);
  EXPECT_LT(cut["seconds"], 10);
  EXPECT_LE(cut["bytes_moved"], 6 << 20) << "4 MiB a second";
  EXPECT_GT(cut["pages_moved"], 0);
  EXPECT_GE(cut["pages_requested"], 32 * 256);
  bool said = false;
  for (const Json& cause : cut["not_moved"])
    said = said || cause["why"].get<std::string>().find("time was over") != std::string::npos;
  EXPECT_TRUE(said) << cut["not_moved"];
  EXPECT_TRUE(subject.EndsRight());
}

// Some processes, some of them named twice over: each is moved once, and reported.
TEST(Jobs, OfSeveralProcesses) {
  Subject one(UnderDrover(), {"--mib", "8"}), two(UnderDrover(), {"--mib", "16"});
  ASSERT_NE(one.pid(), 0);
  ASSERT_NE(two.pid(), 0);
  const std::string first = std::to_string(one.pid()), second = std::to_string(two.pid());
  const Json moved = Jobs({"move", first, second, first, "--tree", second, "--to", "same"});
  ASSERT_EQ(moved["processes"].size(), 2u) << moved;
  EXPECT_EQ(moved["processes"][0]["pid"], one.pid());
  EXPECT_GE(moved["processes"][0]["pages_moved"], 8 * 256 * 95 / 100);
  EXPECT_GE(moved["processes"][1]["pages_moved"], 16 * 256 * 95 / 100);
  EXPECT_EQ(moved["pages_moved"], moved["processes"][0]["pages_moved"].get<uint64_t>() +
                                      moved["processes"][1]["pages_moved"].get<uint64_t>());
  EXPECT_EQ(moved["command_exit_code"], 3) << "stacks and files stay";
  EXPECT_TRUE(one.EndsRight());
  EXPECT_TRUE(two.EndsRight());
}

// A shell, and what it has started.
TEST(Jobs, OfATree) {
  const auto folder = std::filesystem::temp_directory_path();
  const std::string pids = (folder / ("drover-tree-" + std::to_string(getpid()))).string();
  const std::string script = "sleep 60 & sleep 60 & echo $$ > " + pids + "; wait";
  const std::string begin = Built("drover") + " run -- sh -c '" + script + "' >/dev/null 2>&1 &";
  ASSERT_EQ(system(begin.c_str()), 0);
  int shell = 0;
  for (int i = 0; i < 200 && shell == 0; ++i, std::this_thread::sleep_for(20ms))
    std::ifstream(pids) >> shell;
  ASSERT_GT(shell, 0);
  // (Before it is `sleep`, a child is the shell, which would be another program when its turn
  // comes.)
  const auto sleepers = [&] {
    return RunCommand({"pgrep", "-c", "-P", std::to_string(shell), "-x", "sleep"}).out;
  };
  for (int i = 0; i < 200 && sleepers() != "2\n"; ++i) std::this_thread::sleep_for(20ms);
  const Json moved = Jobs({"move", "--tree", std::to_string(shell), "--to", "same"});
  EXPECT_EQ(moved["processes"].size(), 3u) << moved;
  for (const Json& process : moved["processes"]) {
    EXPECT_GT(process["pages_moved"], 0) << process;
    kill(process["pid"].get<int>(), SIGTERM);
  }
  std::filesystem::remove(pids);
}

TEST(Jobs, BadWords) {
  Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const auto move = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {Built("drover"), "move", "--to", "same"});
    return RunCommand(words);
  };
  ExpectRefused(move({}), 2, "PID, --tree or --cgroup");
  ExpectRefused(move({pid, "--rate", "0m/s"}), 2, "rate");
  ExpectRefused(move({pid, "--rate", "500m"}), 2, "500M/s");
  ExpectRefused(move({pid, "--cpu", "0%"}), 2, "share of a CPU");
  ExpectRefused(move({pid, "--cpu", "101%"}), 2, "share of a CPU");
  ExpectRefused(move({pid, "--for", "0s"}), 2, "10m");
  ExpectRefused(move({pid, "--for", "1000h"}), 2, "10m");
  ExpectRefused(move({pid, "1", "--range", "0x1000+4096"}), 2, "--range");
  ExpectRefused(move({"--tree", "999999999"}), 4, "no process");
  ExpectRefused(move({"--cgroup", "/no/such.slice"}), 4, "no control group");
  for (const char* command : {"pause", "resume", "cancel", "jobs"}) {
    ExpectRefused(RunCommand({Built("drover"), command, std::to_string(getpid())}), 6, "no job");
    ExpectRefused(RunCommand({Built("drover"), command, "x"}), 2, "JOB");
  }
  EXPECT_TRUE(subject.EndsRight());
}

// A control group of its own, with one process, that empties while it is moved.
TEST(Jobs, OfAControlGroup) {
  // (Version 1 has a hierarchy for each controller.)
  const bool unified = access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0;
  const std::string name =
      std::string(unified ? "/" : "/cpu/") + "drover-test-" + std::to_string(getpid());
  const std::string group = "/sys/fs/cgroup" + name;
  ASSERT_EQ(mkdir(group.c_str(), 0755), 0) << "control groups are needed, and root";
  ExpectRefused(RunCommand({Built("drover"), "move", "--to", "same", "--cgroup", group}), 4,
                "has no process");
  {
    std::optional<Subject> subject(std::in_place, UnderDrover(),
                                   std::vector<std::string>{"--mib", "16"});
    ASSERT_NE(subject->pid(), 0);
    std::ofstream(group + "/cgroup.procs") << subject->pid() << std::flush;
    const Json moved = Jobs({"move", "--to", "same", "--cgroup", name});
    ASSERT_EQ(moved["processes"].size(), 1u) << moved;
    EXPECT_EQ(moved["processes"][0]["pid"], subject->pid());
    EXPECT_GE(moved["pages_moved"], 16 * 256 * 95 / 100);
    const int job = Begin({"--cgroup", group, "--rate", kSlowly});
    (void)AwaitBegun(job);
    EXPECT_EQ(Jobs({"pause", std::to_string(job)})["state"], "paused");
    EXPECT_TRUE(subject->EndsRight());
    subject.reset();
    const Json ended = AwaitEnd(job);
    EXPECT_EQ(ended["command_exit_code"], 6) << ended;
  }
  for (int i = 0; i < 100 && rmdir(group.c_str()) != 0; ++i) std::this_thread::sleep_for(20ms);
}

}  // namespace
}  // namespace drover::live
