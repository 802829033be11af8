#include "report/table.h"

#include <gtest/gtest.h>

namespace drover::report {
namespace {

Table Speeds() {
  Table table;
  table.legend = "GB/s";
  table.columns = {{"page", "{page}"}, {"speed", "{speed:.1f}"}};
  table.rows = {{{"side", "drover"}, {"page", "4K"}, {"speed", 1.25}, {"batch", 1}},
                {{"side", "drover"}, {"page", "2M"}, {"speed", nullptr}, {"batch", 1}},
                {{"side", "kernel"}, {"page", "2M"}, {"speed", 10}, {"batch", 8}}};
  return table;
}

TEST(Table, CellsAreTextWithKeysOfTheRow) {
  const nlohmann::json row = {
      {"a", 1.234}, {"text", "x,y"}, {"none", nullptr}, {"bytes", 2 << 20}, {"yes", true}};
  EXPECT_EQ(CellText("{a:.1f} to {text}", row), "1.2 to x,y");
  EXPECT_EQ(CellText("{bytes:size}, {yes}", row), "2 MiB, yes");
  EXPECT_EQ(CellText("{none:.2f} us", row), "-") << "nothing but what is not there";
  EXPECT_EQ(CellText("{none}, {a:.0f}", row), "-, 1");
  EXPECT_EQ(CellText("{no such key}", row), "-");
  EXPECT_EQ(CellText("plain", row), "plain");
}

TEST(Table, SizesAreExact) {
  EXPECT_EQ(ExactBytes(0), "0 B");
  EXPECT_EQ(ExactBytes(4096), "4 KiB");
  EXPECT_EQ(ExactBytes((2u << 20) + 4096), "2052 KiB");
  EXPECT_EQ(ExactBytes(uint64_t{16} << 30), "16 GiB");
}

TEST(Table, IsAlignedForATerminal) {
  Table table = Speeds();
  table.notes = {"a note"};
  table.skipped = {{"1G", "too large"}};
  EXPECT_EQ(TableText(table),
            "GB/s\n\n"
            "page  speed\n"
            "  4K    1.2\n"
            "  2M      -\n"
            "  2M   10.0\n"
            "a note\n"
            "left out: 1G (too large)\n");
}

TEST(Table, PivotsKeepEveryValueInItsPlace) {
  Table table = Speeds();
  const Pivot all{"speed", "{side}", "{page}", "{speed:.1f}", ""};
  EXPECT_EQ(LinesOf(table, all),
            (Lines{{"speed", "4K", "2M"}, {"drover", "1.2", "-"}, {"kernel", "", "10.0"}}));
  const Pivot one{"speed", "{side}", "{page}", "{speed:.1f}", "kernel"};
  EXPECT_EQ(LinesOf(table, one), (Lines{{"speed", "2M"}, {"kernel", "10.0"}}));
  table.pivots = {{"speed", "{side}", "{page}", "{speed:.1f}", "nobody"}};
  EXPECT_EQ(TableText(table), "GB/s\n\n") << "an empty view is not shown";
}

TEST(Table, CsvHasEveryKeyAndQuotesWhatNeedsIt) {
  Table table = Speeds();
  table.rows[2]["phases"] = {{"copy", 0.5}};
  table.rows[2]["page"] = "2M, \"huge\"";
  EXPECT_EQ(TableCsv(table),
            "batch,page,side,speed,phases/copy\n"
            "1,4K,drover,1.25,\n"
            "1,2M,drover,,\n"
            "8,\"2M, \"\"huge\"\"\",kernel,10,0.5\n");
}

TEST(Table, JoinsADocument) {
  Table table = Speeds();
  table.context["copy_function"] = "memcpy";
  table.skipped = {{"1G", "too large"}};
  nlohmann::json document = {{"context", {{"kernel", "6.18"}}}};
  AddTable(table, &document);
  EXPECT_EQ(document["context"]["kernel"], "6.18");
  EXPECT_EQ(document["context"]["copy_function"], "memcpy");
  EXPECT_EQ(document["rows"].size(), 3u);
  EXPECT_EQ(document["skipped"][0]["reason"], "too large");
}

}  // namespace
}  // namespace drover::report
