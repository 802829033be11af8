// Where the own path stands back: the real thing of each line, used before a move and in the middle
// of one. The program is unharmed, and told apart in words. (Kernel TLS and O_DIRECT on NFS, Ceph
// and 9p need what no kernel at hand has; those lines are tested on the model, tests/flow.)
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "live/command.h"
#include "live/first_move.h"
#include "live/ksm.h"

namespace drover::live {
namespace {

struct Use {
  const char* what;
  const char* words;
};
void PrintTo(const Use& use, std::ostream* out) {
  *out << use.what;
}

constexpr Use kUses[] = {
    {"pi", "priority-inheritance mutexes"},
    {"pi_futex", "priority-inheritance mutexes"},
    {"robust", "robust mutexes"},
    {"fuse", "/dev/fuse is open"},
    {"kvm", "/dev/kvm is open"},
    {"xdp", "AF_XDP socket"},
    {"userfaultfd", "a userfaultfd of its own"},
    {"raw_thread", "threads that libc did not make"},
    {"seccomp", "taken out of work"},
};

Outcome MoveInBatches(int pid, const char* batch) {
  return RunCommand(
      {Built("drover"), "move", std::to_string(pid), "--to", "same", "--batch", batch, "--json"});
}

std::string Refusal(const Outcome& outcome) {
  const auto json = outcome.json();
  return json.is_discarded() ? "" : json["own_path_refused"].get<std::string>();
}

// A machine without virtualization has no /dev/kvm.
bool MachineHas(const Use& use) {
  return std::string(use.what) != "kvm" || access("/dev/kvm", F_OK) == 0;
}

class StandsBack : public testing::TestWithParam<Use> {
 protected:
  void SetUp() override {
    if (!MachineHas(GetParam())) GTEST_SKIP() << "untested on this kernel: " << GetParam().what;
  }
};
INSTANTIATE_TEST_SUITE_P(From, StandsBack, testing::ValuesIn(kUses),
                         [](const auto& each) { return std::string(each.param.what); });

TEST_P(StandsBack, FromWhatIsUsedBeforeTheMove) {
  Subject subject(UnderDrover(), {"--mib", "4", "--uses", GetParam().what});
  ASSERT_NE(subject.pid(), 0) << "this machine should have it";
  const Outcome outcome = MoveInBatches(subject.pid(), "2m");
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;  // no second node for the kernel path
  EXPECT_NE(Refusal(outcome).find(GetParam().words), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.json()["pages_moved"], 0);
  // `doctor` says so in the same words, and what would lift it.
  const auto doctor =
      RunCommand({Built("drover"), "doctor", std::to_string(subject.pid()), "--json"}).json();
  EXPECT_EQ(doctor["own_path"], false);
  bool said = false;
  for (const auto& reason : doctor["reasons"])
    said = said || (reason["seen"].get<std::string>().find(GetParam().words) != std::string::npos &&
                    !reason["lift"].get<std::string>().empty());
  EXPECT_TRUE(said) << doctor;
  EXPECT_TRUE(subject.EndsRight());
}

TEST_P(StandsBack, FromWhatIsUsedInTheMiddleOfAMove) {
  constexpr int kMib = 64;
  Subject subject(UnderDrover(), {"--mib", std::to_string(kMib), "--uses-later", GetParam().what});
  ASSERT_NE(subject.pid(), 0);
  Outcome outcome;
  const FirstMove first_move(subject.pid());
  std::thread mover([&] { outcome = MoveInBatches(subject.pid(), "1"); });
  EXPECT_TRUE(first_move.Seen());
  kill(subject.pid(), SIGUSR2);
  mover.join();
  EXPECT_NE(outcome.exit_code, 0) << outcome.err;
  if (std::string(GetParam().what) !=
      "seccomp") {  // then the agent's last words are not waited for
    EXPECT_NE(Refusal(outcome).find(GetParam().words), std::string::npos) << outcome.out;
    EXPECT_GT(outcome.json()["pages_moved"].get<uint64_t>(), 0u);
    EXPECT_LT(outcome.json()["pages_moved"].get<uint64_t>(), kMib * 256u);
  }
  EXPECT_NE(Refusal(MoveInBatches(subject.pid(), "2m")).find(GetParam().words), std::string::npos);
  EXPECT_TRUE(subject.EndsRight());
}

// The causes of what did not move are told apart: merged pages look like shared ones.
TEST(NotMoved, MergedPagesAreNamed) {
  std::string before;
  std::ifstream("/sys/kernel/mm/ksm/run") >> before;
  ASSERT_EQ(before, "0") << "KSM is not to be had here, or runs already";
  Subject subject(UnderDrover(), {"--mib", "1", "--uses", "equal_pages"});
  ASSERT_NE(subject.pid(), 0);
  const KsmRuns ksm;
  uint64_t merged = 0;
  for (int i = 0; i < 500 && merged < 32; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    // (Of this process alone: a virtual machine beside it has merged pages, too.)
    std::ifstream("/proc/" + std::to_string(subject.pid()) + "/ksm_merging_pages") >> merged;
  }
  ASSERT_GE(merged, 32u);
  const Outcome outcome = MoveInBatches(subject.pid(), "2m");
  bool named = false;
  const auto json = outcome.json();
  for (const auto& cause : json["not_moved"])
    named = named || (cause["why"].get<std::string>().find("KSM") != std::string::npos &&
                      cause["pages"].get<uint64_t>() >= 32u);
  EXPECT_TRUE(named) << outcome.out;
  EXPECT_TRUE(subject.EndsRight());
}

// As Redis does: its huge pages stay whole, so they cannot take the own path, and are told apart.
TEST(StandBack, HugePagesOfAProgramThatHasSwitchedThemOff) {
  Subject subject(UnderDrover(), {"--mib", "1", "--uses", "no_huge_pages"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const auto plan =
      RunCommand({Built("drover"), "move", pid, "--to", "same", "--dry-run", "--json"}).json();
  const Outcome outcome = MoveInBatches(subject.pid(), "2m");
  const auto json = outcome.json();
  EXPECT_EQ(plan["by_path"], json["by_path"]) << plan << json;
  bool named = false;
  for (const auto& cause : json["not_moved"])
    named = named ||
            (cause["why"].get<std::string>().find("switched huge pages off") != std::string::npos &&
             cause["pages"].get<uint64_t>() >= 3 * 512u);
  EXPECT_TRUE(named) << outcome.out;
  EXPECT_TRUE(subject.EndsRight());
}

// What is closed again is forgotten.
TEST(StandBack, EndsWithItsReason) {
  Subject subject(UnderDrover(), {"--mib", "4", "--uses-for-a-moment", "fuse"});
  ASSERT_NE(subject.pid(), 0);
  const Outcome outcome = MoveInBatches(subject.pid(), "2m");
  EXPECT_EQ(Refusal(outcome), "") << outcome.out;
  EXPECT_GT(outcome.json()["pages_moved"].get<uint64_t>(), 0u);
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::live
