// Moves under a stall budget.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "drover/engine.h"
#include "live/checked_memory.h"
#include "live/command.h"

namespace drover::live {
namespace {

// (How long windows then are is for the benchmark to say: no test can know what else runs here.)
TEST(MaxStall, MakesBatchesSmallAndLosesNothing) {
  Subject subject(UnderDrover(), {"--mib", "64", "--threads", "2"});
  ASSERT_NE(subject.pid(), 0);
  const auto move = [&](const char* max_stall) {
    return RunCommand({Built("drover"), "move", std::to_string(subject.pid()), "--to", "same",
                       "--batch", "16m", "--max-stall", max_stall, "--json"})
        .json();
  };
  const auto free = move("none"), held = move("500us");
  EXPECT_TRUE(free["stall_budget"].is_null());
  EXPECT_EQ(held["stall_budget"]["max_stall_us"], 500.0);
  for (const auto& json : {free, held}) {
    EXPECT_GE(json["pages_moved"].get<uint64_t>(), 16384u * 98 / 100) << json;
    EXPECT_EQ(json["by_path"]["kernel"], 0);
  }
  EXPECT_GT(held["window_us"]["count"].get<uint64_t>(),
            2 * free["window_us"]["count"].get<uint64_t>())
      << held << free;
  EXPECT_TRUE(subject.EndsRight());
}

// What a user gets who says nothing of it.
TEST(MaxStall, IsHalfAMillisecondUnasked) {
  Subject subject(UnderDrover(), {"--mib", "2", "--threads", "1"});
  ASSERT_NE(subject.pid(), 0);
  const auto moved = RunCommand({"sh", "-c",
                                 "exec " + Built("drover") + " move --to same --json " +
                                     std::to_string(subject.pid())})
                         .json();
  EXPECT_EQ(moved["stall_budget"]["max_stall_us"], 500.0);
  EXPECT_GT(moved["pages_moved"], 0);
  EXPECT_TRUE(subject.EndsRight());
}

// A copy of 2 MiB takes more than 10 us on every machine.
TEST(MaxStall, LeavesHugePagesThatDoNotFitWhole) {
  CheckedMemory memory(16 << 20, true);
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  memory.StartThreads(2);
  MoveRequest request;
  request.ranges = {memory.range()};
  request.max_stall_us = 10;
  for (const bool plan_only : {true, false}) {
    request.plan_only = plan_only;
    const auto left = (*engine)->Move(request);
    ASSERT_TRUE(left.has_value()) << left.error().message;
    EXPECT_EQ(left->pages_moved, 0u);
    ASSERT_TRUE(left->stall_budget.has_value());
    EXPECT_EQ(left->stall_budget->pages_left, memory.pages());
    EXPECT_GT(left->stall_budget->smallest_max_stall_us, 10);
    ASSERT_EQ(left->not_moved.size(), 1u);
    EXPECT_NE(left->not_moved[0].why.find("--max-stall"), std::string::npos);
    EXPECT_EQ(left->window.count, 0u);
  }
  EXPECT_EQ(HugePages(memory.range()), memory.pages() / 512);
  request.over_budget = true;
  const auto moved = (*engine)->Move(request);
  ASSERT_TRUE(moved.has_value());
  EXPECT_GE(moved->pages_moved, memory.pages() * 98 / 100);
  EXPECT_GE(moved->window.count, memory.pages() / 512 * 98 / 100) << "one by one";
  EXPECT_EQ(HugePages(memory.range()), memory.pages() / 512);
  EXPECT_EQ(memory.StopThreadsAndCountWrongWords(), 0u);
}

// The probe's account and drover's, of the same moves.
TEST(BenchStall, CountsAccessesBesideWindows) {
  const Outcome outcome =
      RunCommand({Built("drover"), "bench", "stall", "--total", "32m", "--rounds", "2", "--page",
                  "4K", "--max-stall", "200us,none", "--json"},
                 60);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto rows = outcome.json()["rows"];
  ASSERT_EQ(rows.size(), 4u);
  for (const auto& row : rows) {
    const bool moved = row["side"] == "drover";
    EXPECT_GT(row["accesses"].get<uint64_t>(), 10'000u) << row;
    EXPECT_EQ(row["probe_wrong_words"], 0);
    EXPECT_GT(row["probe_p50_us"], 0.0);
    EXPECT_GE(row["probe_max_us"], row["probe_p999_us"]);
    EXPECT_EQ(row["windows"].get<uint64_t>() > 0, moved) << row;
    if (!moved) {
      EXPECT_EQ(row["probe_stalled"], 0);
    }
  }
  EXPECT_EQ(rows[0]["max_stall_us"], 200.0);
  EXPECT_TRUE(rows[2]["max_stall_us"].is_null());
  EXPECT_GT(rows[0]["windows"], rows[2]["windows"]) << "smaller batches";
  const auto refused = [](std::vector<std::string> words, const char* says) {
    words.insert(words.begin(), {Built("drover"), "bench", "stall"});
    ExpectRefused(RunCommand(words), 2, says);
  };
  refused({"--max-stall", "soon"}, "is no time");
  refused({"--total", "3m"}, "multiple of 2 MiB");
  refused({"--side", "swap"}, "--side");
}

TEST(BenchStall, DrawsAFigure) {
  const std::string file = (std::filesystem::temp_directory_path() /
                            ("drover-figure-" + std::to_string(getpid()) + ".svg"))
                               .string();
  const auto draw = [](const std::string& path, const std::string& programs) {
    return RunCommand(
        {"env", "PATH=" + programs, Built("drover"), "bench", "stall", "--total", "8m", "--rounds",
         "1", "--page", "4K", "--max-stall", "none", "--figure", path},
        60);
  };
  const Outcome drawn = draw(file, "/usr/bin:/bin");
  EXPECT_EQ(drawn.exit_code, 0) << drawn.err;
  std::ifstream figure(file);
  const std::string text{std::istreambuf_iterator<char>(figure), {}};
  EXPECT_NE(text.find("<svg"), std::string::npos);
  EXPECT_NE(text.find("4K, drover"), std::string::npos);
  std::filesystem::remove(file);
  const Outcome without = draw(file, "/nowhere");
  EXPECT_EQ(without.exit_code, 4);
  EXPECT_NE(without.err.find("gnuplot"), std::string::npos) << without.err;
  EXPECT_EQ(draw("/no/such/folder/figure.svg", "/usr/bin:/bin").exit_code, 1);
}

// The kernel's own migration under the same probe: none of drover's windows is in it.
TEST(BenchStall, HasTheKernelsSide) {
  const Outcome outcome =
      RunCommand({Built("drover"), "bench", "stall", "--total", "32m", "--rounds", "1", "--side",
                  "kernel", "--max-stall", "none", "--json"},
                 60);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto report = outcome.json();
  EXPECT_EQ(report["rows"].size() + report["skipped"].size(), 2u) << report;
  ASSERT_GE(report["rows"].size(), 1u) << report;
  for (const auto& row : report["rows"]) {
    EXPECT_FALSE(row["how"].is_null());
    EXPECT_GT(row["gb_per_s"], 0.0);
    EXPECT_EQ(row["windows"], 0);
    EXPECT_EQ(row["probe_wrong_words"], 0);
  }
}

}  // namespace
}  // namespace drover::live
