// A process that is about to end, seen from outside.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/agents.h"

namespace drover::live {
namespace {

// Its memory is gone before it is a zombie: that was taken for somebody else's process.
TEST(Ending, AProcessThatGivesItsMemoryBackIsSaidToEnd) {
  const pid_t child = fork();
  if (child == 0) {
    constexpr size_t kBytes = 256 << 20;
    void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(pages, kBytes, MADV_NOHUGEPAGE);
    madvise(pages, kBytes, MADV_POPULATE_WRITE);
    raise(SIGSTOP);
    for (;;) pause();
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  kill(child, SIGKILL);
  uint64_t ending = 0;
  for (bool zombie = false; !zombie;) {
    const auto process = control::CheckTarget(child);
    if (process.has_value()) continue;  // not killed yet
    EXPECT_EQ(process.error().kind, Error::Kind::kUnavailable) << process.error().message;
    zombie = process.error().message.find("zombie") != std::string::npos;
    ending += process.error().message.find("is ending") != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(ending, 0u);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace drover::live
