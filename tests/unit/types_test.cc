#include "kernel/types.h"

#include <gtest/gtest.h>

namespace drover {
namespace {

// An empty range once counted as overlapping the one it stood in, and collect left it out for ever.
TEST(Range, AnEmptyOneOverlapsNothing) {
  constexpr Range own{0x1000, 0x3000}, empty{0x2000, 0};
  EXPECT_FALSE(own.Overlaps(empty));
  EXPECT_FALSE(empty.Overlaps(own));
  EXPECT_TRUE(own.Overlaps({0x3000, 0x1000}));
  EXPECT_FALSE(own.Overlaps({0x4000, 0x1000}));
}

}  // namespace
}  // namespace drover
