// A process that this user, or this pid namespace, sees otherwise; and one that is no longer the
// program that was looked at.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "live/command.h"
#include "live/first_move.h"

namespace drover::live {
namespace {

class InOtherView : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Commands, InOtherView, testing::Values("move", "pages", "doctor"));

TEST_P(InOtherView, AProcessThatProcHidesFromThisUser) {
  const Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  const std::string to = std::string(GetParam()) == "move" ? " --to same" : "";
  ExpectRefused(RunCommand({"unshare", "-m", "sh", "-c",
                            "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 "
                            "--regid 65534 --clear-groups " +
                                Built("drover") + " " + GetParam() + " " +
                                std::to_string(subject.pid()) + to}),
                5, "mounted with hidepid");
}

TEST_P(InOtherView, AProcOfAnotherPidNamespace) {
  const Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  std::vector<std::string> words = {"unshare",       "-p",       "-f",
                                    Built("drover"), GetParam(), std::to_string(subject.pid())};
  if (std::string(GetParam()) == "move") words.insert(words.end(), {"--to", "same"});
  ExpectRefused(RunCommand(words), 4, "of another pid namespace");
}

// As in a container: the program has another number there, and another /proc.
TEST(OtherNamespace, AProgramThereIsMovedFromHere) {
  Subject subject({"unshare", "-p", "-f", "-m", "--mount-proc", Built("drover"), "run", "--"},
                  {"--mib", "4"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  EXPECT_EQ(subject.ReportText().find("ready " + pid + "\n"), std::string::npos)
      << "it is in this pid namespace";
  const Outcome outcome = RunCommand({Built("drover"), "move", pid, "--to", "same", "--json"});
  const auto json = outcome.json();
  EXPECT_EQ(json["own_path_refused"], "") << outcome.err;
  EXPECT_GT(json["pages_moved"].get<uint64_t>(), 1024 * 98 / 100);
  EXPECT_TRUE(subject.EndsRight());
}

TEST(ChangedProgram, InTheMiddleOfAMove) {
  Subject subject(UnderDrover(), {"--mib", "512", "--uses-later", "exec"});
  ASSERT_NE(subject.pid(), 0);
  const FirstMove first_move(subject.pid());
  std::thread changer([&] {
    EXPECT_TRUE(first_move.Seen());
    kill(subject.pid(), SIGUSR2);
  });
  const Outcome outcome = RunCommand(
      {Built("drover"), "move", std::to_string(subject.pid()), "--to", "same", "--batch", "1"});
  changer.join();
  ExpectRefused(outcome, 6, "has begun another program");
  // The new program has an agent of its own.
  const Outcome again = RunCommand(
      {Built("drover"), "move", std::to_string(subject.pid()), "--to", "same", "--json"});
  EXPECT_EQ(again.json()["own_path_refused"], "") << again.err;
  kill(subject.pid(), SIGKILL);
}

}  // namespace
}  // namespace drover::live
