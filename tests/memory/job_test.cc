// Moves of a process with several kinds of memory at once.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "live/command.h"
#include "memory/subject_with_kind.h"
#include "report/words.h"
#include "topology/nodes.h"

namespace drover::memory {
namespace {

live::Outcome Move(const SubjectWith& subject, std::vector<std::string> more) {
  std::vector<std::string> words = {live::Built("drover"),         "move", "--json",
                                    std::to_string(subject.pid()), "--to", "same"};
  words.insert(words.end(), more.begin(), more.end());
  return live::RunCommand(words, 60);
}

std::set<std::string> CausesIn(const nlohmann::json& report) {
  std::set<std::string> causes;
  for (const auto& cause : report["not_moved"]) {
    causes.insert(cause["why"].get<std::string>());
    EXPECT_NE(cause["hint"], "") << cause;
  }
  return causes;
}

std::set<std::string> WordsOf(const std::vector<flow::Why>& causes) {
  std::set<std::string> words;
  for (const flow::Why why : causes) words.insert(report::WordsOf(why).why);
  return words;
}

uint64_t SumIn(const nlohmann::json& report) {
  uint64_t sum = 0;
  for (const auto& cause : report["not_moved"]) sum += cause["pages"].get<uint64_t>();
  return sum;
}

// Children come first: what is pinned before a fork is copied for the child, and not shared.
const std::vector<std::string> kUnmovable = {
    "child-alive", "direct-read",      "fixed-buffer", "read-only",
    "no-rights",   "executable",       "mlock",        "file-written",
    "memfd",       "shared-anonymous", "secret",       "io-uring-rings"};

TEST(Job, OfNothingButUnmovableMemoryChangesNothing) {
  using enum flow::Why;
  SubjectWith subject(kUnmovable);
  ASSERT_EQ(subject.cannot(), "");
  ASSERT_EQ(subject.pieces().size(), kUnmovable.size());
  const auto before = subject.Entries();
  uint64_t present = 0;
  for (const uint64_t entry : before) present += entry >> 63;
  const auto outcome = Move(subject, {"--range", subject.Ranges()});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  const auto report = outcome.json();
  ASSERT_TRUE(report.is_object()) << outcome.out;
  EXPECT_EQ(report["pages_requested"], present);
  EXPECT_EQ(report["pages_moved"], 0);
  EXPECT_EQ(report["pages_not_moved"], present);
  EXPECT_EQ(SumIn(report), present);
  EXPECT_EQ(CausesIn(report), WordsOf({kShared, kBusy, kRights, kLocked, kFile, kNotMovable}));
  EXPECT_TRUE(subject.Entries() == before) << "the page table has changed";
  EXPECT_TRUE(subject.EndsRight());
}

// A whole process, all of which is locked or worse.
TEST(Job, OfAProcessThatIsLockedAsAWholeChangesNothing) {
  std::vector<std::string> kinds = {"child-alive",  "direct-read", "fixed-buffer", "read-only",
                                    "thread-stack", "heap",        "main-stack",   "library-data"};
  kinds.push_back("mlockall-current");
  SubjectWith subject(kinds);
  ASSERT_EQ(subject.cannot(), "");
  const auto before = subject.Entries();
  const auto outcome = Move(subject, {});
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  const auto report = outcome.json();
  ASSERT_TRUE(report.is_object()) << outcome.out;
  EXPECT_GT(report["pages_requested"], 0);
  EXPECT_EQ(report["pages_moved"], 0) << report;
  EXPECT_EQ(report["pages_not_moved"], report["pages_requested"]);
  EXPECT_EQ(SumIn(report), report["pages_requested"]);
  EXPECT_TRUE(CausesIn(report).contains(report::WordsOf(flow::Why::kLocked).why));
  EXPECT_TRUE(subject.Entries() == before) << "the page table has changed";
  EXPECT_TRUE(subject.EndsRight());
}

// Large folios, by the heads that the kernel shows of them.
uint64_t CountFolios(const SubjectWith& subject) {
  constexpr uint64_t kPresent = 1ull << 63, kFrame = (1ull << 55) - 1, kHead = 1ull << 15;
  const int file = open("/proc/kpageflags", O_RDONLY);  // only whole words can be read there
  uint64_t heads = 0, flags = 0;
  for (const uint64_t entry : subject.Entries()) {
    if ((entry & kPresent) == 0) continue;
    const auto at = static_cast<off_t>((entry & kFrame) * sizeof flags);
    EXPECT_EQ(pread(file, &flags, sizeof flags, at), static_cast<ssize_t>(sizeof flags));
    heads += (flags & kHead) != 0;
  }
  close(file);
  return heads;
}

// UFFDIO_MOVE takes single pages, or huge ones; move_pages takes what there is.
TEST(Job, LeavesLargeFoliosWholeByTheKernelPathAlone) {
  if (topology::ReadNodes("/").id_limit() < 2)
    GTEST_SKIP() << "untested on this machine: two memory nodes";
  for (const std::string kind : {"anonymous-16k", "anonymous-64k", "anonymous-1m"})
    for (const bool off : {false, true}) {
      SCOPED_TRACE(kind + (off ? ", agent off" : ""));
      SubjectWith subject({kind});
      ASSERT_EQ(subject.cannot(), "");
      const std::string pid = std::to_string(subject.pid());
      const uint64_t folios = CountFolios(subject);
      EXPECT_GT(folios, 0u);
      if (off) live::RunCommand({live::Built("drover"), "off", pid});
      const auto report = live::RunCommand({live::Built("drover"), "move", pid, "--to",
                                            std::to_string(1 - subject.Node()), "--range",
                                            subject.Ranges(), "--json"})
                              .json();
      EXPECT_EQ(report["by_path"][off ? "kernel" : "own"], subject.Entries().size());
      EXPECT_EQ(CountFolios(subject), off ? folios : 0);
      EXPECT_TRUE(subject.EndsRight());
    }
}

// A transfer comes to its end while the move goes on.
TEST(Job, InModeSyncWaitsForATransferToEnd) {
  SubjectWith subject({"direct-read"});
  ASSERT_EQ(subject.cannot(), "");
  const auto before = subject.Entries();
  const auto refused = Move(subject, {"--range", subject.Ranges(), "--mode", "async"});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_EQ(refused.json()["retry_rounds"], 0);
  EXPECT_EQ(refused.json()["not_moved"][0]["temporary"], true);
  EXPECT_TRUE(subject.Entries() == before);
  std::thread ender([&] {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    subject.EndTransfers();
  });
  const auto moved =
      Move(subject, {"--range", subject.Ranges(), "--mode", "sync", "--retry-for", "20s"});
  ender.join();
  EXPECT_EQ(moved.exit_code, 0) << moved.out << moved.err;
  EXPECT_GT(moved.json()["retry_rounds"], 0);
  EXPECT_EQ(moved.json()["pages_moved"], before.size());
  EXPECT_TRUE(subject.EndsRight());
}

}  // namespace
}  // namespace drover::memory
