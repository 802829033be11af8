#include "vm/moves.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace drover::vm {
namespace {

constexpr int kSecondsMax = 100;  // under emulation; a move that hangs must not take all the time

live::Outcome Run(const char* command, int pid, const std::vector<std::string>& words) {
  std::vector<std::string> all = {live::Built("drover"), command, std::to_string(pid), "--json"};
  all.insert(all.end(), words.begin(), words.end());
  return live::RunCommand(all, kSecondsMax);
}

}  // namespace

live::Outcome Move(int pid, const std::vector<std::string>& words) {
  return Run("move", pid, words);
}

live::Outcome Exchange(int pid, const std::vector<std::string>& words) {
  return Run("exchange", pid, words);
}

std::string RangeWord(PageRange range) {
  char word[64];
  std::snprintf(word, sizeof word, "%#lx+%lu", range.start, range.bytes);
  return word;
}

bool ExpectTruthful(const live::Outcome& outcome) {
  const auto json = outcome.json();
  EXPECT_FALSE(json.is_discarded()) << "exit code " << outcome.exit_code << ": " << outcome.err;
  if (json.is_discarded()) return false;
  const auto pages = [&](const char* name) { return json[name].get<uint64_t>(); };
  EXPECT_EQ(pages("pages_requested"), pages("pages_moved") + pages("pages_already_there") +
                                          pages("pages_gone") + pages("pages_not_moved"));
  EXPECT_EQ(pages("pages_moved"),
            json["by_path"]["own"].get<uint64_t>() + json["by_path"]["kernel"].get<uint64_t>());
  EXPECT_EQ(pages("bytes_moved"), pages("pages_moved") * 4096);
  uint64_t with_cause = 0;
  for (const auto& cause : json["not_moved"]) {
    with_cause += cause["pages"].get<uint64_t>();
    EXPECT_NE(cause["why"], "unknown");
    EXPECT_NE(cause["why"], "");
    EXPECT_NE(cause["hint"], "");
  }
  EXPECT_EQ(with_cause, pages("pages_not_moved"));
  EXPECT_EQ(outcome.exit_code, pages("pages_not_moved") == 0 ? 0 : 3) << outcome.err << outcome.out;
  if (pages("pages_moved") > 0) {
    EXPECT_GT(json["relocated_verified"].get<double>(), 0.98);
  }
  if (json["moved_back"].is_number()) {
    EXPECT_EQ(json["moved_back"], 0);
  }
  return true;
}

void ExpectOnNode(int pid, PageRange range, int node) {
  const uint64_t most = range.pages() * 98 / 100;
  EXPECT_GE(Count(NodesOf(pid, range))[node], most) << "by move_pages, on node " << node;
  EXPECT_GE(NumaMaps(pid, range)[node], most) << "by numa_maps, on node " << node;
}

}  // namespace drover::vm
