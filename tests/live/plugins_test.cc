// Plugins in a program that drover has started: used, taken out and set while its memory moves.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "live/command.h"

namespace drover::live {
namespace {

std::string Plugin(const std::string& file) {
  return Built("test-plugins/" + file);
}

std::vector<std::string> UnderDroverWith(const std::string& plugin) {
  return {Built("drover"), "run", "--migrator", plugin, "--"};
}

// Of one engine in the list of a process.
nlohmann::json OneOf(int pid, const std::string& name) {
  const Outcome list =
      RunCommand({Built("drover"), "migrators", "--pid", std::to_string(pid), "--json"});
  EXPECT_EQ(list.exit_code, 0) << list.err;
  const auto json = list.json();
  for (const auto& one : json["migrators"])
    if (one["migrator"] == name) return one;
  return {};
}

Outcome Say(int pid, std::vector<std::string> words) {
  words.insert(words.begin(), {Built("drover"), "migrators"});
  words.insert(words.end(), {"--pid", std::to_string(pid), "--json"});
  return RunCommand(words);
}

std::vector<std::string> MoveBy(int pid, const std::string& migrator) {
  return {Built("drover"), "move",   std::to_string(pid), "--to",
          "same",          "--json", "--migrator",        migrator};
}

TEST(LivePlugins, CopyWhatTheyTake) {
  Subject subject(UnderDroverWith(Plugin("sample/sample.so") + ":leave=4"),
                  {"--mib", "16", "--threads", "2"});
  ASSERT_NE(subject.pid(), 0);
  const Outcome outcome = RunCommand(MoveBy(subject.pid(), "sample,serial"));
  ASSERT_TRUE(outcome.exit_code == 0 || outcome.exit_code == 3) << outcome.err;
  const auto json = outcome.json();
  const auto pages = json["by_migrator"]["sample"].get<uint64_t>();
  EXPECT_GT(pages, 1000u);
  const auto one = OneOf(subject.pid(), "sample");
  EXPECT_EQ(one["plugin"], true);
  EXPECT_EQ(one["registered"], true);
  EXPECT_EQ(one["pages"], pages);
  EXPECT_GT(one["fallen_back"], pages / 5) << "a quarter is left to the CPU";
  EXPECT_GT(one["failed"], 0u);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(LivePlugins, AreTakenOutAndSetWhileMemoryMoves) {
  Subject subject(UnderDroverWith(Plugin("sample/sample.so")), {"--mib", "16", "--threads", "2"});
  ASSERT_NE(subject.pid(), 0);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> moved = 0, by_sample = 0;
  std::string wrong;
  std::thread mover([&] {
    while (!stop) {
      const Outcome outcome = RunCommand(MoveBy(subject.pid(), "sample"));
      if (outcome.exit_code != 0 && outcome.exit_code != 3) {
        wrong = outcome.err;
        return;
      }
      moved += outcome.json()["by_path"]["own"].get<uint64_t>();
      by_sample += outcome.json()["by_migrator"]["sample"].get<uint64_t>();
    }
  });
  for (int i = 0; i < 200; ++i) {
    const std::vector<std::string> all[] = {{"unregister", "sample"},
                                            {"register", "sample"},
                                            {"set", "sample", "--smallest", "8m"},
                                            {"set", "sample", "--smallest", "0"}};
    const Outcome outcome = Say(subject.pid(), all[i % 4]);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  stop = true;
  mover.join();
  EXPECT_EQ(wrong, "");
  EXPECT_GT(by_sample, 0u);
  EXPECT_GT(moved, by_sample.load()) << "it was never out";
  EXPECT_TRUE(subject.EndsRight());
}

TEST(LivePlugins, AreSetByReasonAndSize) {
  Subject subject(UnderDroverWith(Plugin("sample/sample.so")), {"--mib", "8", "--threads", "1"});
  ASSERT_NE(subject.pid(), 0);
  const Outcome set =
      Say(subject.pid(), {"set", "sample", "--reason", "demotion,compaction", "--smallest", "64k"});
  ASSERT_EQ(set.exit_code, 0) << set.err;
  const auto one = OneOf(subject.pid(), "sample");
  EXPECT_EQ(one["reasons"], nlohmann::json({"compaction", "demotion"}));
  EXPECT_EQ(one["smallest_batch_bytes"], 64 << 10);
  auto words = MoveBy(subject.pid(), "sample");
  EXPECT_EQ(RunCommand(words).json()["by_migrator"]["sample"], 0u);
  words.insert(words.end(), {"--reason", "demotion"});
  EXPECT_GT(RunCommand(words).json()["by_migrator"]["sample"].get<uint64_t>(), 0u);
  EXPECT_EQ(Say(subject.pid(), {"set", "sample", "--reason", "all", "--smallest", "0"}).exit_code,
            0);
  EXPECT_TRUE(OneOf(subject.pid(), "sample")["reasons"].empty());
  EXPECT_TRUE(subject.EndsRight());
}

// A child that runs the same program has an engine of its own.
TEST(LivePlugins, AreThereInAChildOfFork) {
  Subject subject(UnderDroverWith(Plugin("sample/sample.so")),
                  {"--mib", "8", "--threads", "1", "--daemon"});
  ASSERT_NE(subject.pid(), 0) << subject.started().err;
  EXPECT_GT(RunCommand(MoveBy(subject.pid(), "sample")).json()["by_migrator"]["sample"], 0u);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(LivePlugins, ThatCannotBeUsed) {
  const auto run = [](const std::string& plugin) {
    auto words = UnderDroverWith(plugin);
    words.push_back("true");
    return RunCommand(words);
  };
  ExpectRefused(run(Plugin("wrong-house.so")), 4, "needs a process of its own");
  ExpectRefused(run(Plugin("slow.so")), 4, "uses libc");
  ExpectRefused(run(Plugin("none.so")), 4, "there is no plugin");
  ExpectRefused(run("none"), 4, "none.so");
  ExpectRefused(run(Plugin("sample/sample.so") + ":leave=0"), 4, "is no option");
  Subject subject(UnderDrover(), {"--mib", "4", "--threads", "1"});
  ASSERT_NE(subject.pid(), 0);
  const int pid = subject.pid();
  ExpectRefused(RunCommand(MoveBy(pid, "sample")), 2, "no copy engine here");
  ExpectRefused(Say(pid, {"register", "sample"}), 4, "has no copy engine 'sample'");
  ExpectRefused(Say(pid, {"load", "/x.so"}), 4, "drover run --migrator /x.so");
  ExpectRefused(Say(pid, {"unload", "serial"}), 4, "unregister");
  ExpectRefused(Say(pid, {"set", "serial"}), 2, "nothing to set");
  ExpectRefused(Say(pid, {"set", "serial", "--reason", "whim"}), 2, "is no reason");
  ExpectRefused(Say(getpid(), {"register", "serial"}), 4, "no agent that serves");
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::live
