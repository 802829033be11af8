// Call N of a job fails in the real kernel's stead, for every N and with each plausible error: the
// released agent, in a process of its own. (On the model, with far more kinds of calls:
// tests/flow/failing_test.cc.)
#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include "chaos/slice.h"
#include "chaos/storm_process.h"
#include "control/client.h"

namespace drover::live {
namespace {

using chaos::kPage;
using chaos::SliceStart;

struct Case {
  const char* name;
  uint64_t slice, pages, batch_bytes;
};
class EveryCallFails : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Of, EveryCallFails,
                         testing::Values(Case{"small", 0, 40, 16 * kPage},
                                         Case{"huge", 1, 1024, 512 * kPage}),
                         [](const auto& each) { return std::string(each.param.name); });

flow::JobResult Move(int pid, const Case& what) {
  flow::Job job;
  job.placement.node_count = 1;
  job.placement.same = true;
  job.batch_bytes = what.batch_bytes;
  job.mode = flow::Mode::kSync;
  job.range_count = 1;
  job.ranges[0] = {SliceStart(what.slice), what.pages * kPage};
  flow::JobResult none;
  none.ended_by = flow::Trouble::kNoAgent;
  const auto process = control::CheckTarget(pid);
  if (!process.has_value()) return none;
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value() || !marker->has_value()) return none;
  auto client = control::Client::Connect({*process, **marker});
  if (!client.has_value()) return none;
  control::Steering steering;
  const auto result = client->Move(job, -1, steering, [](const control::Progress&) {});
  return result.has_value() ? *result : none;
}

void ExpectLedgerRight(const flow::JobResult& result) {
  EXPECT_EQ(result.pages_requested, result.pages_moved + result.pages_already_there +
                                        result.pages_gone + result.pages_not_moved);
}

// What moved, and what only lacked a huge page to go to, as in a small guest.
uint64_t MovedIfThereWasRoom(const flow::JobResult& result) {
  return result.pages_moved + result.not_moved_why[static_cast<uint32_t>(flow::Why::kNoTargetHuge)];
}

TEST_P(EveryCallFails, OnTheRealKernel) {
  const Case what = GetParam();
  const chaos::Folder folder;
  chaos::Storm storm(folder, "quiet", {"--fail-one-in", "0", "--quiet", "yes", "--seed", "1"});
  ASSERT_TRUE(storm.IsReady()) << "it ended with " << storm.Await();
  chaos::Injection& injection = storm.tally().injection;
  Move(storm.pid(), what);  // what is done once for all
  injection.calls = 0;
  const flow::JobResult first = Move(storm.pid(), what);
  EXPECT_EQ(MovedIfThereWasRoom(first), what.pages);
  EXPECT_GT(first.pages_moved, 0u);
  const uint64_t calls = injection.calls;
  ASSERT_GE(calls, 6u);  // watch, out, in, and no longer watch, in some batches
  for (uint64_t nth = 1; nth <= calls; ++nth) {
    for (uint64_t choice = 0;; ++choice) {
      SCOPED_TRACE("call " + std::to_string(nth) + ", error " + std::to_string(choice));
      const uint64_t before = injection.injected;
      injection.choice = choice;
      injection.nth = nth;
      injection.calls = 0;
      ExpectLedgerRight(Move(storm.pid(), what));
      injection.nth = 0;
      if (injection.injected == before) break;  // no such error for it
      EXPECT_EQ(MovedIfThereWasRoom(Move(storm.pid(), what)), what.pages);
    }
  }
  EXPECT_GE(injection.injected, calls);  // each with one error or more
  storm.Signal(SIGTERM);
  EXPECT_EQ(storm.Await(), 0) << storm.tally().first_wrong;
}

}  // namespace
}  // namespace drover::live
