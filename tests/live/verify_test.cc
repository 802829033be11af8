// move --verify on the real kernel: nothing is found where nothing is wrong. With the barrier taken
// out (mutants build) writers through /proc/PID/mem can be late, about once in a million pages;
// what then becomes of the page is shown on the model (tests/flow/verify_test.cc).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>

#include "drover/engine.h"
#include "flow/rules.h"
#include "live/command.h"

namespace drover::live {
namespace {

TEST(Verify, AProgramUnderItsThreads) {
  Subject subject(UnderDrover(), {"--mib", "96", "--threads", "4"});
  ASSERT_NE(subject.pid(), 0);
  for (const char* migrator : {"serial", "threads:2"}) {
    const Outcome outcome =
        RunCommand({Built("drover"), "move", std::to_string(subject.pid()), "--to", "same",
                    "--verify", "--migrator", migrator, "--json"});
    const auto json = outcome.json();
    ASSERT_FALSE(json.is_discarded()) << outcome.err;
    EXPECT_GE(json["verify"]["pages_compared"], json["by_path"]["own"]);
    EXPECT_GT(json["by_path"]["own"].get<uint64_t>(), 96 * 256 * 9 / 10);
    EXPECT_EQ(json["verify"]["copied_again"], 0);
    EXPECT_EQ(json["verify"]["late_writes"], nlohmann::json::array());
    EXPECT_GE(json["seconds"].get<double>(), 0.1) << "the originals were not kept";
  }
  EXPECT_TRUE(subject.EndsRight());
}

TEST(Verify, IsAnsweredWithNullWhereNotAskedFor) {
  Subject subject(UnderDrover(), {"--mib", "1"});
  ASSERT_NE(subject.pid(), 0);
  const std::string pid = std::to_string(subject.pid());
  const Outcome outcome = RunCommand({Built("drover"), "move", pid, "--to", "same", "--json"});
  EXPECT_EQ(outcome.json()["verify"], nullptr);
  const Outcome both =
      RunCommand({Built("drover"), "move", pid, "--to", "same", "--verify", "--dry-run"});
  EXPECT_EQ(both.exit_code, 2) << both.err;
  EXPECT_TRUE(subject.EndsRight());
}

// Interrupts that last: one that falls between "page looked up" and "bytes written" makes a writer
// late. Profilers that copy 64 KiB of stack at every tick, and leave a tenth of the time.
class Profilers {
 public:
  Profilers() {
    std::memset(stack_, 1, sizeof stack_);
    for (int i = 0; i < 8; ++i) {
      perf_event_attr how{};
      how.size = sizeof how;
      how.type = PERF_TYPE_SOFTWARE;
      how.config = PERF_COUNT_SW_CPU_CLOCK;
      how.sample_period = 100'000;  // ns
      how.sample_type = PERF_SAMPLE_STACK_USER | PERF_SAMPLE_REGS_USER;
      how.sample_regs_user = 1;
      how.sample_stack_user = 65528;
      const auto file = static_cast<int>(syscall(SYS_perf_event_open, &how, 0, -1, -1, 0));
      // Without a buffer nothing is copied; it is overwritten round and round.
      constexpr size_t kBufferPages = 1 + 64;
      mmap(nullptr, kBufferPages * 4096, PROT_READ, MAP_SHARED, file, 0);
    }
  }

 private:
  char stack_[128 << 10];
};

// Other processes that write to this one's memory, page by page, round and round.
class Writers {
 public:
  static constexpr uint64_t kCount = 1, kPages = 2048, kBytes = kPages * 4096;

  Writers() {
    memory_ = static_cast<char*>(
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise(memory_, kBytes, MADV_DONTFORK);
    for (uint64_t page = 0; page < kPages; ++page) memory_[page * 4096] = 0;
    written_ =
        static_cast<uint64_t*>(mmap(nullptr, kPages * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    stop_ = reinterpret_cast<std::atomic<int>*>(
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (uint64_t i = 0; i < kCount; ++i) {
      children_[i] = fork();
      if (children_[i] == 0) Write(i);
    }
  }
  // Ends them; how many words are not what was written last.
  uint64_t StopAndCountWrong() {
    stop_->store(1);
    for (const int child : children_) waitpid(child, nullptr, 0);
    uint64_t wrong = 0;
    for (uint64_t page = 0; page < kPages; ++page)
      for (uint64_t word = 0; word < 512; ++word)
        wrong += reinterpret_cast<uint64_t*>(memory_ + page * 4096)[word] != written_[page];
    return wrong;
  }
  uint64_t written() const {
    uint64_t pages = 0;
    for (uint64_t page = 0; page < kPages; ++page) pages += written_[page];
    return pages;
  }
  AddressRange range() const { return {memory_, kBytes}; }

 private:
  [[noreturn]] void Write(uint64_t who) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const std::string path = "/proc/" + std::to_string(getppid()) + "/mem";
    const int file = open(path.c_str(), O_RDWR);
    const Profilers profilers;
    alignas(4096) static uint64_t record[512];
    for (uint64_t value = 1;; ++value)
      for (uint64_t page = who; page < kPages; page += kCount) {
        if (*stop_ != 0) std::_Exit(0);
        const auto at = static_cast<off_t>(reinterpret_cast<uint64_t>(memory_) + page * 4096);
        // Inside a window it fails, with nothing written.
        for (uint64_t& word : record) word = value;
        while (pwrite(file, record, sizeof record, at) != sizeof record)
          if (*stop_ != 0) std::_Exit(0);
        written_[page] = value;
      }
  }

  char* memory_;
  uint64_t* written_;
  std::atomic<int>* stop_;
  int children_[kCount];
};

TEST(Verify, WritersThroughProcMemLoseNothing) {
  using Clock = std::chrono::steady_clock;
  Writers writers;
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  const bool waited_for = flow::RuleHolds(flow::Rule::kBarrier);
  const auto until = Clock::now() + std::chrono::seconds(waited_for ? 2 : 8);
  uint64_t carried = 0, conflicts = 0, moved = 0;
  while (Clock::now() < until && carried + conflicts == 0) {
    MoveRequest request;
    request.ranges = {writers.range()};
    request.verify = true;
    request.batch_bytes = 16 * 4096;
    const auto result = (*engine)->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    ASSERT_TRUE(result->verified.has_value());
    carried += result->verified->carried_over;
    conflicts += result->verified->conflicts;
    moved += result->pages_moved;
  }
  EXPECT_EQ(writers.StopAndCountWrong(), 0u);
  EXPECT_GT(moved, Writers::kPages);
  if (waited_for) {
    EXPECT_EQ(carried + conflicts, 0u) << "a writer was late although it is waited for";
  }
  std::printf("%lu pages written, %lu moved, %lu late writes carried over, %lu conflicts\n",
              writers.written(), moved, carried, conflicts);
}

}  // namespace
}  // namespace drover::live
