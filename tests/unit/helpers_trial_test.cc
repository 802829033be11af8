// Whether helpers pay: batches with and without in turn.
#include "flow/helpers_trial.h"

#include <gtest/gtest.h>

namespace drover::flow {
namespace {

constexpr uint64_t kPages = kPagesPerHuge, kBytes = kPages * kPageBytes;
constexpr uint32_t kTrial = 16, kBetween = 240;

Job ByThreads() {
  Job job;
  job.engines[0] = {.kind = migrators::Kind::kThreads};
  return job;
}

HelpersTrial::Kind Of(uint64_t bytes = kBytes, bool huge = false) {
  return {.huge = huge, .bytes = bytes};
}

// Batches of which one with helpers takes so long, and one without; how many had helpers.
uint32_t TryOn(HelpersTrial& trial, uint32_t batches, uint64_t with_ns, uint64_t without_ns,
               const HelpersTrial::Kind& kind = Of()) {
  uint32_t granted = 0;
  const uint64_t pages = kind.bytes / kPageBytes;
  for (uint32_t i = 0; i < batches; ++i) {
    const bool grants = trial.Grants(kind);
    granted += grants ? 1 : 0;
    (void)trial.Note(pages, pages, grants ? with_ns : without_ns);
  }
  return granted;
}

TEST(HelpersTrial, KeepsThemWhereTheyPay) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 600'000, 1'000'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 600'000, 1'000'000), kBetween);
}

TEST(HelpersTrial, KeepsThemWhereItHardlyMatters) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 970'000);
  EXPECT_TRUE(trial.Grants(Of()));
  TryOn(trial, kBetween, 0, 0);
  TryOn(trial, kTrial, 0, 0);
  EXPECT_TRUE(trial.Grants(Of())) << "nothing is known of a clock that stands still";
}

TEST(HelpersTrial, LeavesThemWhereTheyDoNotAndLooksAgain) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 800'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 1'000'000, 800'000), 0u);
  EXPECT_EQ(TryOn(trial, kTrial, 500'000, 800'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 500'000, 800'000), kBetween);
}

TEST(HelpersTrial, IsNotLedAstrayByOneBatchThatTookLong) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  for (uint32_t i = 0; i < kTrial; ++i) {
    const bool grants = trial.Grants(Of());
    (void)trial.Note(kPages, kPages, grants ? (i == 2 ? 90'000'000 : 600'000) : 1'000'000);
  }
  EXPECT_TRUE(trial.Grants(Of()));
}

// Somebody else has the machine while it is tried with them for the first time.
TEST(HelpersTrial, LeavesThemOnlyWhereBothTimesSaySo) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  for (uint32_t i = 0; i < kTrial; ++i) {
    const bool grants = trial.Grants(Of());
    (void)trial.Note(kPages, kPages, grants ? (i < 4 ? 2'000'000 : 900'000) : 1'000'000);
  }
  EXPECT_TRUE(trial.Grants(Of()));
}

TEST(HelpersTrial, TellsSizesKindsAndNodesApart) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 500'000);
  EXPECT_FALSE(trial.Grants(Of()));
  EXPECT_TRUE(trial.Grants(Of(kBytes, true)));
  EXPECT_TRUE(trial.Grants(Of(8 * kBytes)));
  EXPECT_TRUE(trial.Grants({.bytes = kBytes, .source = 0, .target = 1}));
  EXPECT_EQ(TryOn(trial, kTrial + kBetween, 500'000, 1'000'000, Of(kBytes, true)),
            kTrial / 2 + kBetween);
  EXPECT_FALSE(trial.Grants(Of()));
}

TEST(HelpersTrial, RemembersWhileJobsAreAlike) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 500'000);
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  EXPECT_FALSE(trial.Grants(Of()));
  trial.Begin(ByThreads(), 4, CopyThrough::kAuto);
  EXPECT_TRUE(trial.Grants(Of()));
}

TEST(HelpersTrial, IsNotForJobsWithABudgetNorForOtherEngines) {
  HelpersTrial trial;
  Job job = ByThreads();
  job.max_stall_ns = 200'000;
  trial.Begin(job, 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000), kTrial);
  job = ByThreads();
  job.engines[0].kind = migrators::Kind::kChannels;
  trial.Begin(job, 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000), kTrial);
}

TEST(HelpersTrial, DoesNotCountBatchesOfWhichMuchStayed) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(trial.Grants(Of()));
    EXPECT_FALSE(trial.Note(kPages, i % 2 == 0 ? 0 : kPages / 2, 1'000));
  }
}

TEST(HelpersTrial, SaysWhenManyInARowHadNone) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  uint32_t said_at = 0;
  for (uint32_t i = 1; i <= 40; ++i)
    if (trial.Note(kPages, kPages, trial.Grants(Of()) ? 1'000'000 : 500'000)) {
      EXPECT_EQ(said_at, 0u);
      said_at = i;
    }
  EXPECT_EQ(said_at, kTrial + 4) << "the last four of the trial, and four more";
}

TEST(HelpersTrial, IsLeftOutWhereItIsNotWanted) {
  HelpersTrial trial;
  Job job = ByThreads();
  job.engines[0].always = true;
  trial.Begin(job, 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, 40, 1'000'000, 500'000), 40u);
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000), kTrial / 2);
  trial.Leave();
  EXPECT_TRUE(trial.Grants(Of()));
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  EXPECT_FALSE(trial.Grants(Of())) << "what was found before holds";
}

TEST(HelpersTrial, ForgetsWhatIsOldestWhereThereAreManyKinds) {
  HelpersTrial trial;
  trial.Begin(ByThreads(), 2, CopyThrough::kAuto);
  for (int32_t node = 0; node < 200; ++node) {
    const HelpersTrial::Kind kind{.bytes = kBytes, .source = node, .target = 0};
    EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000, kind), kTrial / 2);
    EXPECT_FALSE(trial.Grants(kind));
  }
}

}  // namespace
}  // namespace drover::flow
