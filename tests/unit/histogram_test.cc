#include <gtest/gtest.h>

#include "flow/job.h"

namespace drover::flow {
namespace {

TEST(Histogram, KeepsPercentilesWithinAnEighth) {
  Histogram histogram;
  for (uint64_t us = 1; us <= 1000; ++us) histogram.Add(us * 1000);
  EXPECT_EQ(histogram.count, 1000u);
  EXPECT_EQ(histogram.max_ns, 1'000'000u);
  EXPECT_NEAR(static_cast<double>(histogram.PerMille(500)), 500e3, 500e3 / 8);
  EXPECT_NEAR(static_cast<double>(histogram.PerMille(990)), 990e3, 990e3 / 8);
  EXPECT_LE(histogram.PerMille(1000), histogram.max_ns);
}

TEST(Histogram, IsEmptyAtFirstAndTakesExtremes) {
  Histogram histogram;
  EXPECT_EQ(histogram.PerMille(999), 0u);
  histogram.Add(0);
  histogram.Add(~uint64_t{0} >> 1);
  EXPECT_EQ(histogram.count, 2u);
  EXPECT_GT(histogram.PerMille(1000), histogram.PerMille(1));
}

}  // namespace
}  // namespace drover::flow
