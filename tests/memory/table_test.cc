// The memory table: what becomes of each kind of memory, and the words that the user gets, asserted
// row by row. Run where there is one node, each kind is asked for fresh pages; on two nodes it is
// also sent to the other one. Each row is printed for the page that is made of them (page.py).
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "live/command.h"
#include "live/ksm.h"
#include "live/swap.h"
#include "memory/expected.h"
#include "memory/subject_with_kind.h"
#include "report/words.h"
#include "topology/nodes.h"

namespace drover::memory {

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.kind;
}

namespace {

using Path = Fate::Path;

bool TwoNodes() {
  return topology::ReadNodes("/").id_limit() > 1;
}

constexpr uint64_t kPresent = 1ull << 63, kFrame = (1ull << 55) - 1;

// What is counted and said in the end.
class Verdict : public testing::Environment {
 public:
  void SetUp() override {
    utsname name;
    uname(&name);
    std::printf("kernel\t%s\t%s\n", name.release, TwoNodes() ? "two nodes" : "one node");
    for (uint32_t why = 1; why < flow::kWhyCount; ++why) {
      const auto words = report::WordsOf(static_cast<flow::Why>(why));
      std::printf("cause\t%s\t%d\t%s\n", words.why, words.temporary ? 1 : 0, words.hint);
    }
  }
  void TearDown() override {
    std::printf("memory table: %d rows as expected, %zu untested on this machine", rows,
                untested.size());
    for (size_t i = 0; i < untested.size(); ++i)
      std::printf("%s%s", i == 0 ? ": " : ", ", untested[i].c_str());
    std::printf("\n");
  }
  static inline int rows = 0;
  static inline std::vector<std::string> untested;
};
const auto* const kVerdict = testing::AddGlobalTestEnvironment(new Verdict);

std::string WordsFor(const Row& row, const Fate& fate) {
  switch (fate.path) {
    case Path::kOwn:
      return "own path";
    case Path::kKernel:
      return "kernel path";
    case Path::kNothing:
      return "no page to move";
    case Path::kStays:
      return "stays: " + (fate.why == flow::Why::kOwnPathRefused
                              ? report::WordsOf(flow::Trouble::kStandsBack, row.stands_back_from)
                              : std::string(report::WordsOf(fate.why).why));
  }
  return "";
}

// The cause of the pages, or that of the process as a whole.
std::string WhyIn(const nlohmann::json& report) {
  const std::string why = report["not_moved"][0]["why"];
  if (why != report::WordsOf(flow::Why::kOwnPathRefused).why) return why;
  return report["own_path_refused"];
}

// The one fate of all pages, in the words of the report, or of the plan.
std::string FateIn(const nlohmann::json& report) {
  const auto asked = report["pages_requested"].get<uint64_t>();
  if (asked == 0) return "no page to move";
  if (report["by_path"]["own"] == asked) return "own path";
  if (report["by_path"]["kernel"] == asked) return "kernel path";
  if (report["pages_not_moved"] == asked && report["not_moved"].size() == 1)
    return "stays: " + WhyIn(report);
  return "several: " + report.dump();
}

// A plan touches nothing, so it knows neither pins nor what is merged.
std::string PlanFor(const Row& row, const Fate& fate) {
  if (fate.why == flow::Why::kBusy) return WordsFor(row, {Path::kOwn});
  if (fate.why == flow::Why::kMerged) return WordsFor(row, {Path::kStays, flow::Why::kShared});
  return WordsFor(row, fate);
}

class Table : public testing::TestWithParam<Row> {
 protected:
  enum class How { kSame, kOther, kShared, kUnshare };
  // Moves the kind of the row, and looks at what came of it. False: this machine cannot have it.
  bool Check(How how, const Fate& expected) {
    static constexpr const char* kColumns[] = {"same", "other", "shared", "unshare"};
    const std::string column = kColumns[static_cast<int>(how)];
    const bool to_other_node = TwoNodes() && how != How::kSame;
    std::optional<live::KsmRuns> ksm;
    std::optional<live::SwapRuns> swap;
    if (std::string(GetParam().kind) == "merged") ksm.emplace();
    if (std::string(GetParam().kind) == "swapped") swap.emplace();
    SubjectWith subject({GetParam().kind});
    if (!subject.cannot().empty()) {
      EXPECT_FALSE(MachineHas(GetParam())) << subject.cannot();
      Say(column, "untested: " + subject.cannot());
      return false;
    }
    EXPECT_EQ(subject.pieces().size(), 1u);
    const std::string node = to_other_node ? std::to_string(1 - subject.Node()) : "same";
    if (how == How::kUnshare) ksm.reset();  // it would merge the copies again
    const auto before = subject.Entries();
    std::vector<std::string> move = {
        live::Built("drover"), "move",  std::to_string(subject.pid()), "--to", node, "--range",
        subject.Ranges(),      "--json"};
    if (how == How::kShared) move.push_back("--shared");
    if (how == How::kUnshare) move.push_back("--unshare");
    // A plan tries out how fast it goes, which takes seconds under emulation: there one is enough.
    if (!TwoNodes() || std::string(GetParam().kind) == "two-processes") {
      auto plan = move;
      plan.push_back("--dry-run");
      EXPECT_EQ(FateIn(live::RunCommand(plan).json()), PlanFor(GetParam(), expected));
    }
    if (how == How::kSame) CheckLook(subject, expected);
    const auto outcome = live::RunCommand(move);
    const auto report = outcome.json();
    if (!report.is_object()) {
      ADD_FAILURE() << outcome.out << outcome.err;
      return true;
    }
    EXPECT_EQ(FateIn(report), WordsFor(GetParam(), expected)) << outcome.err;
    EXPECT_EQ(outcome.exit_code, expected.path == Path::kStays ? 3 : 0);
    CheckEntries(expected, before, subject.Entries());
    EXPECT_TRUE(subject.EndsRight());
    Say(column, FateIn(report));
    return true;
  }

 private:
  // `drover pages` says of the mapping what the move then says of its pages. (Pins and what the
  // process as a whole cannot have only a move finds; a control block is not a whole mapping.)
  void CheckLook(const SubjectWith& subject, const Fate& expected) const {
    flow::Why why = expected.why;
    if (why == flow::Why::kBusy || why == flow::Why::kOwnPathRefused ||
        why == flow::Why::kControlBlock || subject.pieces().empty())
      return;
    if (why == flow::Why::kMerged) why = flow::Why::kShared;
    if (GetParam().other.why == flow::Why::kSeveralProcesses) why = GetParam().other.why;
    const auto pages = live::RunCommand({live::Built("drover"), "pages",
                                         std::to_string(subject.pid()), "--by-mapping", "--json"})
                           .json();
    const uint64_t start = subject.pieces()[0].start;
    bool found = expected.path == Path::kNothing;  // what has no pages is not listed
    for (const auto& mapping : pages["mappings"]) {
      const uint64_t from = std::stoul(mapping["start"].get<std::string>(), nullptr, 16);
      const uint64_t to = std::stoul(mapping["end"].get<std::string>(), nullptr, 16);
      if (start < from || start >= to) continue;
      found = true;
      std::string causes;
      for (const auto& cause : mapping["causes"]) causes += cause["why"].get<std::string>();
      EXPECT_EQ(causes, why == flow::Why::kNone ? "" : report::WordsOf(why).why);
    }
    EXPECT_TRUE(found) << pages;
  }

  // What moved has other frames; what stayed, and every entry without a page, is as it was.
  static void CheckEntries(const Fate& expected, const std::vector<uint64_t>& before,
                           const std::vector<uint64_t>& after) {
    ASSERT_EQ(before.size(), after.size());
    ASSERT_FALSE(before.empty());
    const bool moves = expected.path == Path::kOwn || expected.path == Path::kKernel;
    uint64_t kept = 0, changed = 0;
    for (size_t i = 0; i < before.size(); ++i) {
      const bool present = (before[i] & kPresent) != 0;
      if (present && moves)
        kept += (before[i] & kFrame) == (after[i] & kFrame);
      else
        changed += before[i] != after[i];
    }
    EXPECT_EQ(kept, 0u) << "of " << before.size() << " pages are where they were";
    EXPECT_EQ(changed, 0u) << "of " << before.size() << " entries are not as they were";
  }

  static void Say(const std::string& column, const std::string& fate) {
    std::printf("row\t%s\t%s\t%s\n", column.c_str(), GetParam().kind, fate.c_str());
  }
};

INSTANTIATE_TEST_SUITE_P(Of, Table, testing::ValuesIn(ExpectedRows().begin(), ExpectedRows().end()),
                         [](const auto& row) {
                           std::string name = row.param.kind;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(Table, IsWhatThenHappens) {
  bool tested = Check(How::kSame, GetParam().same);
  if (UnshareHelps(GetParam())) tested &= Check(How::kUnshare, {Fate::Path::kOwn});
  if (TwoNodes()) {
    tested &= Check(How::kOther, GetParam().other);
    tested &= Check(How::kShared, SharedFateOf(GetParam()));
  }
  if (!tested) Verdict::untested.push_back(GetParam().kind);
  if (tested && !HasFailure()) ++Verdict::rows;
}

// Every kind that there is has a row.
TEST(Rows, NameEveryKind) {
  const auto list = live::RunCommand({live::Built("drover_kinds"), "--list"}).out;
  const auto kinds = std::count(list.begin(), list.end(), '\n');
  EXPECT_EQ(kinds, static_cast<long>(ExpectedRows().size())) << list;
  for (const Row& row : ExpectedRows())
    EXPECT_NE(("\n" + list).find(std::string("\n") + row.kind + "\t"), std::string::npos)
        << row.kind;
}

}  // namespace
}  // namespace drover::memory
