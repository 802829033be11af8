// Run-wise looks at tables against the plain loops.
#include "flow/runs.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace drover::flow {
namespace {

template <class T>
class Runs : public testing::Test {};
using Entries = testing::Types<uint8_t, int16_t>;
TYPED_TEST_SUITE(Runs, Entries);

// Every part of tables of up to 40 entries of few values, with long runs and short ones.
TYPED_TEST(Runs, AreWhatThePlainLoopsFind) {
  std::mt19937 random(20261130);
  for (uint64_t count = 0; count <= 40; ++count) {
    std::vector<TypeParam> table(count + 1, TypeParam{1});  // one behind the end
    const uint64_t change = 1 + random() % 12;
    for (uint64_t i = 0; i < count; ++i)
      table[i] =
          i > 0 && random() % change != 0 ? table[i - 1] : static_cast<TypeParam>(random() % 3);
    for (uint64_t first = 0; first <= count; ++first)
      for (uint64_t end = first; end <= count; ++end)
        for (int value = 0; value < 3; ++value) {
          const auto is = static_cast<TypeParam>(value);
          uint64_t run = first, next = first;
          while (run < end && table[run] == is) ++run;
          while (next < end && table[next] != is) ++next;
          ASSERT_EQ(RunEnd(table.data(), first, end, is), run) << count << first << end;
          ASSERT_EQ(FindNext(table.data(), first, end, is), next) << count << first << end;
        }
  }
}

TYPED_TEST(Runs, AreSetAndNothingBesideThem) {
  constexpr uint64_t kCount = 40;
  for (uint64_t first = 0; first <= kCount; ++first)
    for (uint64_t end = first; end <= kCount; ++end) {
      std::vector<TypeParam> table(kCount, TypeParam{7});
      SetRun(table.data(), first, end, TypeParam{3});
      for (uint64_t i = 0; i < kCount; ++i) ASSERT_EQ(table[i], i >= first && i < end ? 3 : 7);
    }
}

}  // namespace
}  // namespace drover::flow
