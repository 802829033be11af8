// Targets that are not to be had: said in one line, with the way out, and nothing is touched.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "vm/moves.h"
#include "vm/started_victim.h"

namespace drover::vm {
namespace {

// A process that fills a node, all but so many bytes.
class Hog {
 public:
  Hog(int node, uint64_t bytes_left) {
    const uint64_t free = FreeBytesOnNode(node);
    int ready[2];
    if (free <= bytes_left || pipe2(ready, O_CLOEXEC) != 0) return;
    child_ = fork();
    if (child_ == 0) Fill(node, free - bytes_left, ready[1]);
    close(ready[1]);
    char byte;
    full_ = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
  }
  ~Hog() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  Hog(const Hog&) = delete;
  Hog& operator=(const Hog&) = delete;
  bool full() const { return full_; }

 private:
  [[noreturn]] static void Fill(int node, uint64_t bytes, int ready) {
    std::ofstream("/proc/self/oom_score_adj") << 1000;  // if anybody must go
    const uint64_t mask = uint64_t{1} << node;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || syscall(SYS_mbind, memory, bytes, MPOL_BIND, &mask, 64, 0) != 0 ||
        madvise(memory, bytes, MADV_HUGEPAGE) != 0 ||
        madvise(memory, bytes, MADV_POPULATE_WRITE) != 0 || write(ready, "x", 1) != 1)
      std::_Exit(1);
    for (;;) pause();
  }

  int child_ = -1;
  bool full_ = false;
};

class Refusal : public testing::TestWithParam<With> {};
INSTANTIATE_TEST_SUITE_P(Agents, Refusal, testing::Values(With::kAgent, With::kNoAgent),
                         [](const auto& chosen) {
                           return chosen.param == With::kAgent ? "WithAgent" : "WithoutAgent";
                         });

TEST_P(Refusal, ANodeThatIsTooFull) {
  StartedVictim victim(GetParam(),
                       {"--node", "0", "--small-mib", "48", "--huge-mib", "48", "--threads", "0"});
  ASSERT_NE(victim.pid(), 0);
  const Hog hog(1, uint64_t{80} << 20);  // the kernel keeps some 40 MiB of it to itself
  ASSERT_TRUE(hog.full());
  const auto small_before = NodesOf(victim.pid(), victim.small());
  const auto huge_before = NodesOf(victim.pid(), victim.huge());
  live::ExpectRefused(Move(victim.pid(), {"--to", "1"}), 4, "would have to come to node 1");
  EXPECT_EQ(NodesOf(victim.pid(), victim.small()), small_before);
  EXPECT_EQ(NodesOf(victim.pid(), victim.huge()), huge_before);
  // The message's own way out: less.
  const PageRange little{victim.small().start, uint64_t{2} << 20};
  const auto outcome = Move(victim.pid(), {"--to", "1", "--range", RangeWord(little)});
  ASSERT_TRUE(ExpectTruthful(outcome));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out;
  EXPECT_EQ(Count(NodesOf(victim.pid(), little))[1], little.pages());
  EXPECT_EQ(victim.End(), 0);
}

TEST_P(Refusal, ANodeThatDoesNotExist) {
  StartedVictim victim(GetParam(), {"--node", "0", "--small-mib", "1", "--huge-mib", "2"});
  ASSERT_NE(victim.pid(), 0);
  live::ExpectRefused(Move(victim.pid(), {"--to", "2"}), 4, "node 2 does not exist");
  live::ExpectRefused(Move(victim.pid(), {"--from", "7", "--to", "1"}), 4, "node 7 does not exist");
  ExpectOnNode(victim.pid(), victim.small(), 0);
  ExpectOnNode(victim.pid(), victim.huge(), 0);
  EXPECT_EQ(victim.End(), 0);
}

}  // namespace
}  // namespace drover::vm
