// drover bench: the tables say what they promise, and what a benchmark changes is put back.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "live/command.h"
#include "restorer.h"

namespace drover::live {
namespace {

Outcome Bench(std::vector<std::string> words, int seconds = 60) {
  words.insert(words.begin(), {Built("drover"), "bench"});
  return RunCommand(words, seconds);
}

std::string TextOf(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    path_ = std::filesystem::temp_directory_path() / ("drover-bench-" + std::to_string(getpid()));
    std::filesystem::create_directory(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Bench, MigrateHasItsFloorsAndTheKernelBesideIt) {
  const auto report = Bench({"migrate", "--page", "4K,2M,4K-2M", "--threads", "1", "--total", "16m",
                             "--rounds", "2", "--json"})
                          .json();
  ASSERT_EQ(report["rows"].size() + report["skipped"].size(), 3u) << report;
  ASSERT_GE(report["rows"].size(), 2u) << report;
  for (const auto& row : report["rows"]) {
    EXPECT_GT(row["gb_per_s"], 0.0);
    EXPECT_GT(row["fresh_floor_gb_per_s"], 0.0);
    EXPECT_GT(row["efficiency"], 0.0);
    EXPECT_EQ(row["batch_bytes"], 2 << 20);
    EXPECT_EQ(row["kernel_how"].is_null(), row["page"] != "4K-2M");
    // What the engine needs for itself is bounded, whatever is moved: its pool, and 8 MiB.
    EXPECT_LT(row["extra_memory_mib"], 64 + 8);
  }
}

TEST(Bench, PublishedFiguresStandBesideThisMachines) {
  const auto report = Bench({"rfc2", "--folios", "1,4", "--threads", "1", "--batch", "2m",
                             "--rounds", "1", "--json"})
                          .json();
  std::map<std::string, int> sides;
  for (const auto& row : report["rows"]) {
    ++sides[row["side"]];
    if (row["side"] == "drover") {
      EXPECT_EQ(row["page"], "2M");
      EXPECT_TRUE(row["folios"] == 1 || row["folios"] == 4) << row;
    }
  }
  EXPECT_EQ(sides["published"], 20) << "ten totals, without and with a DMA channel";
  EXPECT_EQ(sides["drover"], 2) << report["skipped"];
}

TEST(Bench, BadInputIsRefused) {
  ExpectRefused(Bench({"migrate", "--total", "1m"}), 2, "multiple of 2 MiB");
  ExpectRefused(Bench({"migrate", "--page", "1G"}), 2, "--page");
  ExpectRefused(Bench({"migrate", "--to", "0"}), 2, "--from");
  ExpectRefused(Bench({"all"}), 2, "--out");
  ExpectRefused(Bench({"all", "--out", "/proc/nowhere", "--only", "rfc2"}), 1, "/proc/nowhere");
  const auto too_much = Bench({"migrate", "--page", "2M", "--threads", "1", "--total", "16000g",
                               "--rounds", "1", "--json"});
  EXPECT_EQ(too_much.json()["skipped"].size(), 1u) << too_much.out;
}

// Nothing of the machine is changed that was not allowed.
TEST(Bench, TheKernelsSideAsksBeforeItTouchesTheSystem) {
  const auto report = Bench({"kernel", "--page", "4K", "--threads", "1", "--total", "16m",
                             "--rounds", "1", "--json"})
                          .json();
  bool named = false;
  for (const auto& skipped : report["skipped"])
    named =
        named || skipped["reason"].get<std::string>().find("--touch-system") != std::string::npos;
  EXPECT_TRUE(named) << report;
}

TEST(Bench, AllIsOnePageWithItsParts) {
  const Folder folder;
  const Outcome done = Bench(
      {"all", "--out", folder.path(), "--only", "migrate", "--rounds", "1", "--total", "4m"}, 120);
  EXPECT_EQ(done.exit_code, 0) << done.err;
  const std::string page = TextOf(folder.path() / "index.html");
  for (const char* const part : {"How fast drover relocates memory", "<svg", "</html>",
                                 "drover bench all --out DIR --only migrate"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_NE(TextOf(folder.path() / "migrate.csv").find("efficiency"), std::string::npos);
  EXPECT_TRUE(nlohmann::json::accept(TextOf(folder.path() / "migrate.json")));
  EXPECT_EQ(TextOf(folder.path() / "migrate.png").substr(1, 3), "PNG");
}

// A program that does not lose a word is what a row stands for: the benchmark looks.
void ExpectAllSides(const nlohmann::json& report, const std::string& program) {
  ASSERT_EQ(report["rows"].size() + report["skipped"].size(), 3u) << report;
  ASSERT_GE(report["rows"].size(), 2u) << report;
  for (const auto& row : report["rows"]) {
    EXPECT_EQ(row["program"], program);
    EXPECT_GT(row["per_s"], 0.0);
    EXPECT_GE(row["p999_us"], row["p50_us"]);
    EXPECT_EQ(row["gb_moved"] == 0.0, row["side"] == "none") << row;
    EXPECT_EQ(row["max_stall"].is_null(), row["side"] != "drover");
  }
}

TEST(Bench, WhatALoopNotices) {
  ExpectAllSides(Bench({"app", "--program", "loop", "--max-stall", "2ms", "--total", "16m",
                        "--seconds", "0.5", "--rounds", "1", "--json"})
                     .json(),
                 "loop");
}

TEST(Bench, WhatTheClientsOfARedisNotice) {
  ExpectAllSides(Bench({"app", "--program", "redis-get", "--max-stall", "2ms", "--total", "16m",
                        "--seconds", "0.5", "--rounds", "1", "--json"})
                     .json(),
                 "redis-get");
}

// Runs `act` in a child with a restorer for these two, and kills the child.
void KillOneThat(const std::string& file, const std::string& folder, bool releases) {
  const pid_t child = fork();
  if (child == 0) {
    bench::Restorer restorer;
    const bool promised = restorer.Promise(file, "before") && restorer.Promise(folder, "");
    if (releases) restorer.Release(file);
    if (!promised || !bench::WriteText(file, "during")) _exit(1);
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "it could not do its part";
}

TEST(Restorer, PutsBackWhateverEndsTheBenchmark) {
  const Folder folder;
  const std::string file = folder.path() / "setting", made = folder.path() / "made";
  for (const bool releases : {false, true}) {
    std::ofstream(file) << "before";
    std::filesystem::create_directory(made);
    KillOneThat(file, made, releases);
    for (int tries = 0; tries < 200 && std::filesystem::exists(made); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_FALSE(std::filesystem::exists(made));
    EXPECT_EQ(TextOf(file), releases ? "during" : "before");
  }
}

}  // namespace
}  // namespace drover::live
