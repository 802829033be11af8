#include "flow/own_path.h"

#include <gtest/gtest.h>

namespace drover::flow {
namespace {

TEST(KernelTable, RefusesWhatLacksTheFixes) {
  for (const KernelVersion version :
       {KernelVersion{6, 1, 140}, KernelVersion{6, 8, 0}, KernelVersion{6, 12, 42},
        KernelVersion{6, 13, 0}, KernelVersion{6, 15, 11}, KernelVersion{}})
    EXPECT_EQ(RowOf(version).trust, Trust::kRefused) << version.major << "." << version.minor;
}

TEST(KernelTable, TrustsWhatWasTested) {
  for (const KernelVersion version : {KernelVersion{6, 12, 43}, KernelVersion{6, 12, 95},
                                      KernelVersion{6, 18, 0}, KernelVersion{6, 18, 44}})
    EXPECT_EQ(RowOf(version).trust, Trust::kTested) << version.minor;
  for (const KernelVersion version :
       {KernelVersion{6, 16, 3}, KernelVersion{6, 19, 0}, KernelVersion{7, 2, 1}})
    EXPECT_EQ(RowOf(version).trust, Trust::kSelfTest) << version.minor;
}

TEST(KernelTable, RowsRise) {
  for (size_t i = 1; i < KernelTable().size(); ++i)
    EXPECT_LT(KernelTable()[i - 1].from, KernelTable()[i].from);
}

TEST(KernelVersion, IsReadFromItsText) {
  EXPECT_EQ(ParseVersion("6.12.43+deb13-amd64\n"), (KernelVersion{6, 12, 43}));
  EXPECT_EQ(ParseVersion("6.18.44-fc"), (KernelVersion{6, 18, 44}));
  EXPECT_EQ(ParseVersion("7.3-rc7"), (KernelVersion{7, 3, 0}));
  EXPECT_EQ(ParseVersion("not a version"), (KernelVersion{}));
}

}  // namespace
}  // namespace drover::flow
