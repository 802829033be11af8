// Whole programs with the agent in them, moved by the command line as a person would.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "live/command.h"
#include "live/first_move.h"

namespace drover::live {
namespace {

Outcome Move(int pid, std::vector<std::string> more = {}) {
  std::vector<std::string> words = {Built("drover"), "move", std::to_string(pid),
                                    "--to",          "same", "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return RunCommand(words);
}

// All of the job's promises that hold for every move.
void ExpectMoved(const Outcome& outcome, uint64_t at_least_pages) {
  ASSERT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.err << outcome.out;
  const auto json = outcome.json();
  ASSERT_FALSE(json.is_discarded()) << outcome.out;
  EXPECT_EQ(json["own_path_refused"], "");
  EXPECT_GE(json["pages_moved"].get<uint64_t>(), at_least_pages);
  EXPECT_EQ(json["by_path"]["own"], json["pages_moved"]);
  EXPECT_EQ(json["pages_requested"].get<uint64_t>(),
            json["pages_moved"].get<uint64_t>() + json["pages_already_there"].get<uint64_t>() +
                json["pages_gone"].get<uint64_t>() + json["pages_not_moved"].get<uint64_t>());
  EXPECT_GT(json["relocated_verified"].get<double>(), 0.98);
  EXPECT_EQ(outcome.exit_code == 0, json["pages_not_moved"].get<uint64_t>() == 0);
}

constexpr uint64_t kMostOf16MiB = 4096 * 98 / 100;

TEST(Agent, MovesAProgramUnderItsThreads) {
  Subject subject(UnderDrover(), {"--mib", "16", "--threads", "4"});
  ASSERT_NE(subject.pid(), 0);
  for (int round = 0; round < 20; ++round)
    ExpectMoved(Move(subject.pid(), {"--migrator", round % 2 == 0 ? "serial" : "threads:2"}),
                kMostOf16MiB);
  EXPECT_TRUE(subject.EndsRight());
}

// Its largest mapping, as --range wants it.
std::string LargestMapping(int pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  std::string found;
  uint64_t largest = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long start = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, rights) != 3) continue;
    if (std::string(rights) != "rw-p" || end - start <= largest) continue;
    largest = end - start;
    found = "0x" + line.substr(0, line.find('-')) + "-0x" +
            line.substr(line.find('-') + 1, line.find(' ') - line.find('-') - 1);
  }
  return found;
}

// What each mutant of tests/mutants must still do.
TEST(Agent, MovesQuietMemory) {
  Subject subject(UnderDrover(), {"--mib", "64", "--idle"});
  ASSERT_NE(subject.pid(), 0);
  ExpectMoved(Move(subject.pid(), {"--range", LargestMapping(subject.pid())}), 64 * 256 * 98 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

// Rules: control blocks are never away, so every join ends; mremap waits at the gate, because it
// fails, half done, over the border of a registered batch.
TEST(Agent, ThreadsAreJoinedAndMappingsMovedMeanwhile) {
  Subject subject(UnderDrover(), {"--mib", "4", "--churn"});
  ASSERT_NE(subject.pid(), 0);
  for (int round = 0; round < 60; ++round) {
    const Outcome outcome = Move(subject.pid());
    ASSERT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.err;
    EXPECT_EQ(outcome.json()["own_path_refused"], "");
  }
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, MovesWithEveryBatchSize) {
  Subject subject(UnderDrover(), {"--mib", "16"});
  ASSERT_NE(subject.pid(), 0);
  for (const char* batch : {"1", "7", "64k", "512k", "2m", "3m", "16m"})
    ExpectMoved(Move(subject.pid(), {"--batch", batch}), kMostOf16MiB);
  EXPECT_TRUE(subject.EndsRight());
}

std::vector<uint32_t> UsersOfThreads(int pid) {
  std::vector<uint32_t> users;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      uint32_t ids[4];
      if (std::sscanf(line.c_str(), "Uid: %u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4)
        users.insert(users.end(), ids, ids + 4);
    }
  }
  return users;
}

// Rules: descriptors out of the program's reach; never more rights than the program.
TEST(Agent, ADaemonThatClosesEverythingAndDropsRootIsMovedAgainAndAgain) {
  Subject subject(UnderDrover(), {"--daemon", "--close", "--user", "65534"});
  ASSERT_NE(subject.pid(), 0);
  EXPECT_EQ(subject.started().exit_code, 0) << "$(drover run -- daemon) must end";
  for (int round = 0; round < 5; ++round) {
    ExpectMoved(Move(subject.pid()), kMostOf16MiB);
    for (const uint32_t user : UsersOfThreads(subject.pid())) EXPECT_EQ(user, 65534u);
  }
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, AProgramOfNobodyIsMovedByRootWithDescriptorsHandedOver) {
  std::vector<std::string> as_nobody = {"setpriv", "--reuid", "65534",
                                        "--regid", "65534",   "--clear-groups"};
  for (const auto& word : UnderDrover()) as_nobody.push_back(word);
  Subject subject(as_nobody, {});
  ASSERT_NE(subject.pid(), 0);
  for (int round = 0; round < 3; ++round) ExpectMoved(Move(subject.pid()), kMostOf16MiB);
  EXPECT_TRUE(subject.EndsRight());
}

class Filtered : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Actions, Filtered, testing::Values("errno", "kill"));

TEST_P(Filtered, AProgramUnderASystemCallFilterLivesAndTheMissingCallIsNamed) {
  std::vector<std::string> words = {Built("drover_with_filter"), GetParam(), "323"};  // userfaultfd
  for (const auto& word : UnderDrover()) words.push_back(word);
  Subject subject(words, {});
  ASSERT_NE(subject.pid(), 0);
  const Outcome outcome = Move(subject.pid());
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;  // no second node for the kernel path
  EXPECT_NE(outcome.json()["own_path_refused"].get<std::string>().find("userfaultfd"),
            std::string::npos)
      << outcome.out;
  EXPECT_TRUE(subject.EndsRight());
}

// A filter need not know the calls by which the kernel could copy: below one they are not made.
TEST_P(Filtered, TheKernelIsNotAskedToCopyBelowAFilter) {
  constexpr const char* kReadv = "310";  // process_vm_readv
  std::vector<std::string> words = {Built("drover_with_filter"), GetParam(), kReadv};
  for (const auto& word : UnderDrover()) words.push_back(word);
  Subject subject(words, {"--mib", "4"});
  ASSERT_NE(subject.pid(), 0);
  for (const std::string way : {"auto", "kernel", "kernel-fill"}) {
    const Outcome outcome = RunCommand({Built("drover"), "move", std::to_string(subject.pid()),
                                        "--to", "same", "--copy-through", way, "--json"});
    ExpectMoved(outcome, 1024 * 98 / 100);
    EXPECT_EQ(outcome.json()["copied_through"], way == "kernel-fill" ? "fill" : "program")
        << outcome.out;
  }
  EXPECT_TRUE(subject.EndsRight());
}

// The kernel seems to be another one to the program, in a mount namespace of its own.
std::vector<std::string> UnderDroverOnKernel(const std::string& release) {
  return {"unshare",
          "-m",
          "sh",
          "-c",
          "echo " + release +
              " > /tmp/drover-osrelease.$$ && "
              "mount --bind /tmp/drover-osrelease.$$ /proc/sys/kernel/osrelease && "
              "rm /tmp/drover-osrelease.$$; exec \"$@\"",
          "sh",
          Built("drover"),
          "run",
          "--"};
}

TEST(Agent, OnAKernelNewerThanTheNewestTestedTheFirstMoveTestsIt) {
  Subject subject(UnderDroverOnKernel("9.1.0"), {"--mib", "4"});
  ASSERT_NE(subject.pid(), 0);
  for (int round = 0; round < 2; ++round) ExpectMoved(Move(subject.pid()), 1024 * 98 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, OnAKernelWithoutTheFixesTheOwnPathIsRefused) {
  for (const char* release : {"6.11.9", "6.14.2", "5.10.0"}) {
    Subject subject(UnderDroverOnKernel(release), {"--mib", "4"});
    ASSERT_NE(subject.pid(), 0);
    const Outcome outcome = Move(subject.pid());
    EXPECT_EQ(outcome.exit_code, 3) << outcome.err;  // no second node for the kernel path
    EXPECT_EQ(outcome.json()["pages_moved"], 0);
    EXPECT_NE(outcome.json()["own_path_refused"].get<std::string>().find("6.12.43 or newer"),
              std::string::npos)
        << outcome.out;
    EXPECT_TRUE(subject.EndsRight());
  }
}

TEST(Agent, ProgramsBehaveAsWithoutIt) {
  const auto run = [](std::vector<std::string> words) {
    auto all = UnderDrover();
    all.insert(all.end(), words.begin(), words.end());
    return RunCommand(all);
  };
  const Outcome echo = run({"echo", "hello"});
  EXPECT_EQ(echo.out, "hello\n");
  EXPECT_EQ(echo.err, "");
  EXPECT_EQ(run({"unshare", "-Ur", "true"}).exit_code, 0);
  EXPECT_EQ(run({"sh", "-c", "exit 7"}).exit_code, 7);
  EXPECT_EQ(run({"sh", "-c", "echo $(echo inner)"}).out, "inner\n");
  EXPECT_EQ(run({"sh", "-c", "kill -TERM $$"}).exit_code, 128 + SIGTERM);
}

TEST(Agent, ChildrenHaveTheirOwnUnlessToldOtherwise) {
  const auto maps_of_child = [](const char* children) {
    return RunCommand({Built("drover"), "run", "--children", children, "--", "sh", "-c",
                       "sleep 0.1; cat /proc/self/maps; true"})
        .out;
  };
  EXPECT_NE(maps_of_child("yes").find("drover-agent"), std::string::npos);
  EXPECT_EQ(maps_of_child("no").find("drover-agent"), std::string::npos);
}

TEST(Agent, CanBeTakenOutOfWork) {
  Subject subject(UnderDrover(), {});
  ASSERT_NE(subject.pid(), 0);
  const auto pid = std::to_string(subject.pid());
  EXPECT_NE(RunCommand({Built("drover"), "ps"}).out.find(pid), std::string::npos);
  EXPECT_EQ(RunCommand({Built("drover"), "off", pid}).exit_code, 0);
  const Outcome outcome = Move(subject.pid());
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.json()["pages_moved"], 0);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, MakesNoCallWhileIdle) {
  Subject subject(UnderDrover(), {"--idle"});
  ASSERT_NE(subject.pid(), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const Outcome seen = RunCommand({"timeout", "-s", "INT", "1", "strace", "-f", "-p",
                                   std::to_string(subject.pid()), "-o", "/dev/stdout"});
  ASSERT_NE(seen.err.find("attached with"), std::string::npos) << seen.err;
  std::istringstream lines(seen.out);
  int calls = 0;
  for (std::string line; std::getline(lines, line);)  // what was under way when strace came: none
    calls += line.find("unfinished") == std::string::npos &&
             line.find("detached") == std::string::npos &&
             line.find("resumed") == std::string::npos;
  EXPECT_EQ(calls, 0) << seen.out;
  EXPECT_TRUE(subject.EndsRight());
}

// One pthread, even one that has ended, makes shared_ptr and getc slower for good.
TEST(Agent, AProgramWithoutThreadsStaysSingleThreaded) {
  Subject subject(UnderDrover(), {"--mib", "4", "--single"});
  ASSERT_NE(subject.pid(), 0);
  ExpectMoved(Move(subject.pid()), 1024 * 98 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

// Signals that the program's threads have blocked stay with the program: a thread of the engine
// that took one would run the program's handler, or end the program.
TEST(Agent, TheEngineTakesNoSignalOfTheProgram) {
  Subject subject(UnderDrover(), {"--mib", "4"});
  ASSERT_NE(subject.pid(), 0);
  ExpectMoved(Move(subject.pid()), 1024 * 98 / 100);
  kill(subject.pid(), SIGUSR1);  // blocked in all threads of the subject
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, TwoMovesAtOnceAreRefused) {
  Subject subject(UnderDrover(), {"--mib", "32"});
  ASSERT_NE(subject.pid(), 0);
  const FirstMove first_move(subject.pid());
  std::thread other([&] { Move(subject.pid(), {"--batch", "1"}); });  // page by page takes a while
  EXPECT_TRUE(first_move.Seen());
  const Outcome second = Move(subject.pid());
  other.join();
  EXPECT_EQ(second.exit_code, 4) << second.err;
  EXPECT_NE(second.err.find("busy"), std::string::npos) << second.err;
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, InterruptStopsAtABatchBoundary) {
  Subject subject(UnderDrover(), {"--mib", "512"});
  ASSERT_NE(subject.pid(), 0);
  const Outcome outcome =
      RunCommand({"timeout", "--foreground", "-s", "INT", "0.5", Built("drover"), "move",
                  std::to_string(subject.pid()), "--to", "same", "--batch", "1", "--json"});
  // (Without --foreground it sends two, and the second one ends drover at once.)
  // timeout says 124 for what it ended; drover's own words are what counts.
  EXPECT_EQ(outcome.json()["interrupted"], true) << outcome.out << outcome.err;
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Agent, ATargetThatEndsInTheMiddle) {
  Subject subject(UnderDrover(), {"--mib", "512"});
  ASSERT_NE(subject.pid(), 0);
  const FirstMove first_move(subject.pid());
  std::thread killer([&] {
    EXPECT_TRUE(first_move.Seen());
    kill(subject.pid(), SIGKILL);
  });
  const Outcome outcome = Move(subject.pid(), {"--batch", "1"});
  killer.join();
  EXPECT_EQ(outcome.exit_code, 6) << outcome.err;
  EXPECT_NE(outcome.err.find("has ended meanwhile"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace drover::live
