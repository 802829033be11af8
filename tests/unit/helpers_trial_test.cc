// Whether helpers pay: batches with and without in turn.
#include "flow/helpers_trial.h"

#include <gtest/gtest.h>

namespace drover::flow {
namespace {

constexpr uint64_t kPages = kPagesPerHuge, kBytes = kPages * kPageBytes;
constexpr uint32_t kTrial = 16, kBetween = 240;

Job WithHelpers(uint32_t count = 1) {
  Job job;
  job.engines[0] = {.kind = migrators::Kind::kThreads};
  job.helper_count = count;
  return job;
}

// Batches of which one with helpers takes so long, and one without; how many had helpers.
uint32_t TryOn(HelpersTrial& trial, uint32_t batches, uint64_t with_ns, uint64_t without_ns,
               bool huge = false, uint64_t bytes = kBytes) {
  uint32_t granted = 0;
  for (uint32_t i = 0; i < batches; ++i) {
    const bool grants = trial.Grants(huge, bytes);
    granted += grants ? 1 : 0;
    (void)trial.Note(bytes / kPageBytes, grants ? with_ns : without_ns);
  }
  return granted;
}

TEST(HelpersTrial, KeepsThemWhereTheyPay) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 600'000, 1'000'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 600'000, 1'000'000), kBetween);
}

TEST(HelpersTrial, KeepsThemWhereItHardlyMatters) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 970'000);
  EXPECT_TRUE(trial.Grants(false, kBytes));
  TryOn(trial, kBetween, 0, 0);
  TryOn(trial, kTrial, 0, 0);
  EXPECT_TRUE(trial.Grants(false, kBytes)) << "nothing is known of a clock that stands still";
}

TEST(HelpersTrial, LeavesThemWhereTheyDoNotAndLooksAgain) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 800'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 1'000'000, 800'000), 0u);
  EXPECT_EQ(TryOn(trial, kTrial, 500'000, 800'000), kTrial / 2);
  EXPECT_EQ(TryOn(trial, kBetween, 500'000, 800'000), kBetween);
}

TEST(HelpersTrial, IsNotLedAstrayByOneBatchThatTookLong) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  for (uint32_t i = 0; i < kTrial; ++i) {
    const bool grants = trial.Grants(false, kBytes);
    (void)trial.Note(kPages, grants ? (i == 2 ? 90'000'000 : 600'000) : 1'000'000);
  }
  EXPECT_TRUE(trial.Grants(false, kBytes));
}

TEST(HelpersTrial, TellsSizesAndKindsApart) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 500'000);
  EXPECT_FALSE(trial.Grants(false, kBytes));
  EXPECT_TRUE(trial.Grants(true, kBytes));
  EXPECT_TRUE(trial.Grants(false, 8 * kBytes));
  EXPECT_EQ(TryOn(trial, kTrial + kBetween, 500'000, 1'000'000, true), kTrial / 2 + kBetween);
  EXPECT_FALSE(trial.Grants(false, kBytes));
}

TEST(HelpersTrial, RemembersWhileJobsAreAlike) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  TryOn(trial, kTrial, 1'000'000, 500'000);
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  EXPECT_FALSE(trial.Grants(false, kBytes));
  trial.Begin(WithHelpers(3), CopyThrough::kAuto);
  EXPECT_TRUE(trial.Grants(false, kBytes));
}

TEST(HelpersTrial, IsNotForJobsWithABudgetNorForOtherEngines) {
  HelpersTrial trial;
  Job job = WithHelpers();
  job.max_stall_ns = 200'000;
  trial.Begin(job, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000), kTrial);
  job = WithHelpers();
  job.engines[0].kind = migrators::Kind::kChannels;
  trial.Begin(job, CopyThrough::kAuto);
  EXPECT_EQ(TryOn(trial, kTrial, 1'000'000, 500'000), kTrial);
}

TEST(HelpersTrial, DoesNotCountBatchesThatMovedNothing) {
  HelpersTrial trial;
  trial.Begin(WithHelpers(), CopyThrough::kAuto);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(trial.Grants(false, kBytes));
    EXPECT_FALSE(trial.Note(0, 1'000));
  }
}

}  // namespace
}  // namespace drover::flow
