// fork while memory is moved without pause, with and without the right to fork events.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <sstream>
#include <thread>

#include "drover/engine.h"
#include "live/command.h"

namespace drover::live {
namespace {

constexpr uint64_t kWays = 7;
constexpr uint64_t kRounds = 143;  // 1,001 children

struct Tally {
  uint64_t children = 0, wrong = 0, without_mapping = 0;
  bool done = false;
};

Tally Read(const Subject& subject) {
  Tally tally;
  std::istringstream text(subject.ReportText());
  for (std::string word; text >> word;)
    if (word == "forked")
      tally.done =
          static_cast<bool>(text >> tally.children >> tally.wrong >> tally.without_mapping);
  return tally;
}

// Moves it again and again until it has made all its children.
struct Moves {
  uint64_t pages_moved = 0, pages_unshared = 0, windows_guarded = 0, jobs = 0;
  std::string refused;
};
Moves MoveWhileItForks(const Subject& subject, Tally* tally, const std::string& more = "--json") {
  Moves moves;
  for (*tally = Read(subject); !tally->done && moves.jobs < 3000; *tally = Read(subject)) {
    const Outcome outcome = RunCommand(
        {Built("drover"), "move", std::to_string(subject.pid()), "--to", "same", "--json", more});
    const auto json = outcome.json();
    if (json.is_discarded()) {
      moves.refused = outcome.err;
      break;
    }
    ++moves.jobs;
    moves.pages_unshared += json["pages_unshared"].get<uint64_t>();
    moves.pages_moved += json["pages_moved"].get<uint64_t>();
    moves.windows_guarded += json["windows_guarded"].get<uint64_t>();
    if (moves.refused.empty()) moves.refused = json["own_path_refused"];
  }
  return moves;
}

// 0: all children of a program that moves its own memory were right.
int MoveAndFork() {
  constexpr size_t kBytes = 4 << 20;
  auto* words = static_cast<uint64_t*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (size_t i = 0; i < kBytes / 8; ++i) words[i] = i + 1;
  auto engine = Engine::Open({});
  if (!engine.has_value() || !(*engine)->OwnPathRefused().empty()) return 4;
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> moved = 0, guarded = 0;
  std::thread mover([&] {
    MoveRequest request;
    request.ranges = {{words, kBytes}};
    while (!stop) {
      const auto result = (*engine)->Move(request);
      if (!result.has_value()) break;
      moved += result->pages_moved;
      guarded += result->windows_guarded;
    }
  });
  int wrong = 0;
  for (int round = 0; round < 200; ++round) {
    const int child = fork();
    if (child == 0) {
      for (size_t i = 0; i < kBytes / 8; ++i)
        if (words[i] != i + 1) _exit(1);
      _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    wrong += status != 0;
    for (size_t i = 0; i < kBytes / 8; i += 512) words[i] = i + 1;
  }
  stop = true;
  mover.join();
  if (moved == 0 || guarded == 0) return 5;
  return wrong == 0 ? 0 : 6;
}

TEST(Forks, EveryWayWithForkEvents) {
  Subject subject({Built("drover"), "run", "--children", "no", "--"},
                  {"--mib", "4", "--idle", "--forks", std::to_string(kRounds)});
  ASSERT_NE(subject.pid(), 0);
  Tally tally;
  const Moves moves = MoveWhileItForks(subject, &tally);
  EXPECT_EQ(moves.refused, "");
  EXPECT_EQ(moves.windows_guarded, 0u);
  EXPECT_GT(moves.pages_moved, 4096u);
  EXPECT_EQ(tally.children, kWays * kRounds);
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_EQ(tally.without_mapping, 0u);
  EXPECT_TRUE(subject.EndsRight());
}

// Both sides of what is unshared keep what they have.
TEST(Forks, EveryWayWhileWhatIsSharedIsUnshared) {
  constexpr uint64_t kFewRounds = kRounds / 3;
  Subject subject({Built("drover"), "run", "--children", "no", "--"},
                  {"--mib", "4", "--idle", "--forks", std::to_string(kFewRounds)});
  ASSERT_NE(subject.pid(), 0);
  Tally tally;
  const Moves moves = MoveWhileItForks(subject, &tally, "--unshare");
  EXPECT_EQ(moves.refused, "");
  EXPECT_GT(moves.pages_unshared, 0u);
  EXPECT_EQ(tally.children, kWays * kFewRounds);
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_TRUE(subject.EndsRight());
}

// A daemon of nobody that may open /dev/userfaultfd (here in a mount namespace of its own) and has
// no capability.
TEST(Forks, EveryWayWithoutForkEvents) {
  Subject subject(
      {"unshare", "-m", "sh", "-c",
       "cp -a /dev/userfaultfd /tmp/drover-device.$$ && chmod 666 /tmp/drover-device.$$ && "
       "mount --bind /tmp/drover-device.$$ /dev/userfaultfd && rm /tmp/drover-device.$$; "
       "exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"",
       "sh", Built("drover"), "run", "--children", "no", "--"},
      {"--mib", "4", "--idle", "--forks", std::to_string(kRounds)});
  ASSERT_NE(subject.pid(), 0);
  Tally tally;
  const Moves moves = MoveWhileItForks(subject, &tally);
  EXPECT_EQ(moves.refused, "");
  EXPECT_GT(moves.windows_guarded, 0u);
  EXPECT_GT(moves.pages_moved, 4096u);
  EXPECT_EQ(tally.children, kWays * kRounds);
  EXPECT_EQ(tally.wrong, 0u);
  RecordProperty("without_mapping", static_cast<int>(tally.without_mapping));
  RecordProperty("windows_guarded", static_cast<int>(moves.windows_guarded));
  EXPECT_TRUE(subject.EndsRight());
}

// The library in a program of nobody's: fork() waits at the gate.
TEST(Forks, TheLibraryHoldsThemOffWithoutForkEvents) {
  const int child = fork();
  if (child == 0) {
    const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0 || unshare(CLONE_NEWNS) != 0) _exit(2);
    char copy[] = "/tmp/drover-device-XXXXXX";
    close(mkstemp(copy));
    unlink(copy);
    struct stat info;
    if (fstat(device, &info) != 0 || mknod(copy, S_IFCHR | 0666, info.st_rdev) != 0 ||
        chmod(copy, 0666) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount(copy, "/dev/userfaultfd", nullptr, MS_BIND, nullptr) != 0 || unlink(copy) != 0 ||
        close(device) != 0 || setresuid(65534, 65534, 65534) != 0 ||
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0)
      _exit(3);
    _exit(MoveAndFork());
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace drover::live
