// Copy engines from shared objects: what is refused and why, and changing them while a job runs.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "library/migrator_suite.h"
#include "library/plugin_names.h"
#include "library/workbench.h"

namespace drover::library {
namespace {

using namespace std::chrono_literals;

std::string Path(const std::string& file) {
  return std::string(DROVER_PLUGINS) + file;
}
const std::string kSample = Path("sample/sample.so");

std::string WhyNot(const std::string& path, House house = House::kOwnProcess,
                   const char* options = "") {
  OpenPlugin opened;
  char why[512] = "";
  if (Open(path.c_str(), options, house, &opened, why, sizeof why) == PluginTrouble::kNone)
    Close(&opened);
  return why;
}

testing::AssertionResult Says(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << text << "' does not say '" << part << "'";
}

TEST(Plugins, ThatAreWrongAreRefusedByName) {
  const std::pair<const char*, const char*> ways[] = {
      {"abi", "version 2 of the migrator interface, this drover has 1"},
      {"size", "too short"},
      {"name", "its name"},
      {"flag", "a flag"},
      {"alignment", "power of two"},
      {"call", "submit or poll is missing"},
      {"symbol", DROVER_MIGRATOR_SYMBOL},
      {"open", "there is no such device; plug one in"}};
  for (const auto& [way, words] : ways) {
    const std::string path = Path(std::string("wrong-") + way + ".so");
    EXPECT_TRUE(Says(WhyNot(path), words)) << way;
    EXPECT_TRUE(Says(WhyNot(path), way == std::string("open") ? "wrong" : path));
  }
  EXPECT_EQ(WhyNot(Path("slow.so")), "");
}

TEST(Plugins, ThatNeedAnotherProcessAreRefusedInAForeignOne) {
  EXPECT_EQ(WhyNot(Path("wrong-house.so")), "");
  EXPECT_TRUE(Says(WhyNot(Path("wrong-house.so"), House::kForeignProcess), "own"));
  EXPECT_TRUE(Says(WhyNot(Path("slow.so"), House::kForeignProcess), "libc"));
  EXPECT_EQ(WhyNot(kSample, House::kForeignProcess), "");
}

// (The dynamic linker goes by names, and a descriptor's number comes again.)
TEST(Plugins, SeveralAtATimeAreEachTheirOwn) {
  OpenPlugin slow, sample;
  char why[512];
  ASSERT_EQ(Look(Path("slow.so").c_str(), &slow, why, sizeof why), PluginTrouble::kNone) << why;
  ASSERT_EQ(Look(kSample.c_str(), &sample, why, sizeof why), PluginTrouble::kNone) << why;
  EXPECT_EQ(slow.name.view(), "slow");
  EXPECT_EQ(sample.name.view(), "sample");
  Close(&sample);
  Close(&slow);
}

TEST(Plugins, FilesThatAreNotSafe) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("drover-plugins-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  const std::string copy = folder / "sample.so", text = folder / "text.so";
  std::filesystem::copy_file(kSample, copy);
  EXPECT_EQ(WhyNot(copy), "");
  for (const mode_t mode : {0775, 0757}) {
    ASSERT_EQ(chmod(copy.c_str(), mode), 0);
    EXPECT_TRUE(Says(WhyNot(copy), "may be written to by others"));
  }
  if (geteuid() == 0) {
    ASSERT_EQ(chmod(copy.c_str(), 0755), 0);
    ASSERT_EQ(chown(copy.c_str(), 65534, 65534), 0);
    EXPECT_TRUE(Says(WhyNot(copy), "belongs to user 65534"));
  }
  std::ofstream(text) << "not ELF";
  ASSERT_EQ(chmod(text.c_str(), 0755), 0);
  EXPECT_TRUE(Says(WhyNot(text), "is not a plugin"));
  EXPECT_TRUE(Says(WhyNot(folder / "none.so"), "cannot be read"));
  EXPECT_TRUE(Says(WhyNot(folder), "is not a file"));
  std::filesystem::remove_all(folder);
}

TEST(Plugins, Options) {
  EXPECT_EQ(WhyNot(kSample, House::kOwnProcess, "leave=2"), "");
  for (const char* options : {"leave=", "leave=0", "leave=-1", "leave=2x", "other", ":"})
    EXPECT_TRUE(Says(WhyNot(kSample, House::kOwnProcess, options), "is no option")) << options;
}

TEST(Plugins, ByNameAndByPath) {
  setenv("DROVER_MIGRATOR_PATH", (Path("sample") + ":" + Path("")).c_str(), 1);
  const auto named = FindPlugin("sample:leave=2"), other = FindPlugin("slow");
  const auto by_path = FindPlugin(kSample + ":leave=3"), missing = FindPlugin("nothing");
  unsetenv("DROVER_MIGRATOR_PATH");
  ASSERT_TRUE(named.has_value() && other.has_value() && by_path.has_value());
  EXPECT_EQ(named->path, kSample);
  EXPECT_EQ(named->options, "leave=2");
  EXPECT_EQ(other->options, "");
  EXPECT_EQ(by_path->path, std::filesystem::canonical(kSample).string());
  EXPECT_EQ(by_path->options, "leave=3");
  ASSERT_FALSE(missing.has_value());
  EXPECT_TRUE(Says(missing.error().message, "nothing.so"));
  EXPECT_FALSE(MeansPlugin("threads:2"));
  EXPECT_TRUE(MeansPlugin("./threads.so"));
}

class PluginSuite : public testing::TestWithParam<const char*> {};

TEST_P(PluginSuite, EveryRequirement) {
  auto bench = Workbench::Make(Path(GetParam()));
  ASSERT_TRUE(bench.has_value()) << bench.error().message;
  for (const Verdict& verdict : TestMigrator((*bench)->engine(), {}))
    EXPECT_TRUE(verdict.passed) << verdict.name << ": " << verdict.note;
}

INSTANTIATE_TEST_SUITE_P(Of, PluginSuite,
                         testing::Values("sample/sample.so", "sample/sample.so:leave=3", "slow.so",
                                         "slow.so:hold=3"));

// Memory of which every word carries what it must be, and a thread that reads and writes it.
class Watched {
 public:
  static constexpr size_t kBytes = 8 << 20, kWords = kBytes / sizeof(uint64_t);

  Watched() {
    words_ = static_cast<uint64_t*>(
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < kWords; ++i) words_[i] = i;
    thread_ = std::thread([this] {
      for (uint64_t round = 1; !stop_; ++round)
        for (size_t i = 0; i < kWords; i += 61) {
          if (words_[i] % kWords != i % kWords) ++wrong_;
          words_[i] = round * kWords + i;
        }
    });
  }
  ~Watched() { munmap(words_, kBytes); }
  uint64_t Wrong() {
    stop_ = true;
    thread_.join();
    for (size_t i = 0; i < kWords; ++i) wrong_ += words_[i] % kWords != i;
    return wrong_;
  }
  AddressRange range() const { return {words_, kBytes}; }

 private:
  uint64_t* words_;
  std::atomic<bool> stop_ = false;
  uint64_t wrong_ = 0;
  std::thread thread_;
};

// Moves the memory without pause, by the first of the engines that is there.
class Mover {
 public:
  Mover(Engine& engine, AddressRange range, std::vector<std::string> engines) {
    thread_ = std::thread([this, &engine, range, engines = std::move(engines)] {
      while (!stop_)
        for (const std::string& migrator : engines) {
          MoveRequest request;
          request.ranges = {range};
          request.batch_bytes = 256 << 10;
          request.migrator = migrator;
          const auto result = engine.Move(request);
          if (!result.has_value()) {
            if (result.error().kind == Error::Kind::kUsage ||
                result.error().kind == Error::Kind::kUnavailable)
              continue;  // not there just now
            ++failed_;
            error_ = result.error().message;
          } else {
            moved_ += result->pages_by_own_path;
            if (result->by_migrator.size() > 1) by_plugin_ += result->by_migrator[0].pages;
          }
        }
    });
  }
  void Stop() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<uint64_t> moved_ = 0, by_plugin_ = 0, failed_ = 0;
  std::string error_;

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST(HostedPlugins, AreChangedAThousandTimesWhileMemoryMoves) {
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  ASSERT_EQ((*engine)->OwnPathRefused(), "");
  Watched watched;
  Mover mover(**engine, watched.range(), {"sample,serial", "slow,serial"});
  for (int i = 0; i < 1000; ++i) {
    const bool slow = i % 4 == 3;
    const auto name = (*engine)->LoadMigrator(slow ? Path("slow.so") : kSample,
                                              i % 3 == 0 && !slow ? "leave=7" : "");
    ASSERT_TRUE(name.has_value()) << name.error().message;
    EXPECT_EQ(*name, slow ? "slow" : "sample");
    if (i % 10 == 0) std::this_thread::sleep_for(3ms);
    if (i % 5 == 0) {
      const auto set = (*engine)->SetMigrator(
          *name, {.registered = i % 2 == 0, .reasons = {}, .smallest_batch_bytes = 4096});
      EXPECT_TRUE(set.has_value());
    }
    const auto unloaded = (*engine)->UnloadMigrator(*name, 10);
    ASSERT_TRUE(unloaded.has_value()) << i << ": " << unloaded.error().message;
  }
  mover.Stop();
  EXPECT_EQ(mover.failed_, 0u) << mover.error_;
  EXPECT_GT(mover.by_plugin_, 0u);
  EXPECT_EQ(watched.Wrong(), 0u);
  EXPECT_EQ((*engine)->Migrators().size(), 5u) << "a plugin is left";
}

TEST(HostedPlugins, ThatAreLateAreNotUnloadedBeforeTheyAnswer) {
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  Watched watched;
  // Longer than a batch and than the job's end wait for it.
  ASSERT_TRUE((*engine)->LoadMigrator(Path("slow.so"), "late=2500").has_value());
  MoveRequest request;
  request.ranges = {watched.range()};
  request.migrator = "slow";
  for (int i = 0; i < 2; ++i) {  // the second while it still has the first one's memory
    const auto result = (*engine)->Move(request);
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->pages_moved, Watched::kBytes / 4096);
    EXPECT_EQ(result->by_migrator[0].late, i == 0 ? 1u : 0u);
    EXPECT_EQ(result->pages_by_cpu, Watched::kBytes / 4096);
  }
  const auto early = (*engine)->UnloadMigrator("slow", 0.01);
  ASSERT_FALSE(early.has_value());
  EXPECT_TRUE(Says(early.error().message, "has not let go"));
  for (const MigratorState& state : (*engine)->Migrators())
    if (state.plugin) {
      EXPECT_FALSE(state.registered);
      EXPECT_FALSE(state.idle);
      EXPECT_EQ(state.total.late, 1u);
    }
  EXPECT_TRUE((*engine)->UnloadMigrator("slow", 10).has_value());
  EXPECT_EQ(watched.Wrong(), 0u);
}

TEST(HostedPlugins, WhatIsAskedForWrongly) {
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value());
  ASSERT_TRUE((*engine)->LoadMigrator(kSample, "").has_value());
  const auto twice = (*engine)->LoadMigrator(kSample, "leave=2");
  ASSERT_FALSE(twice.has_value());
  EXPECT_TRUE(Says(twice.error().message, "loaded already"));
  EXPECT_FALSE((*engine)->UnloadMigrator("threads", 1).has_value());
  EXPECT_FALSE((*engine)->UnloadMigrator("nothing", 1).has_value());
  EXPECT_FALSE(
      (*engine)
          ->SetMigrator("sample",
                        {.registered = {}, .reasons = {{"whim"}}, .smallest_batch_bytes = {}})
          .has_value());
  const auto bad = (*engine)->LoadMigrator(Path("wrong-abi.so"), "");
  ASSERT_FALSE(bad.has_value());
  // The others go on.
  Watched watched;
  MoveRequest request;
  request.ranges = {watched.range()};
  request.migrator = "sample";
  const auto result = (*engine)->Move(request);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->by_migrator[0].migrator, "sample");
  EXPECT_EQ(result->by_migrator[0].pages, Watched::kBytes / 4096);
  EXPECT_EQ(watched.Wrong(), 0u);
}

}  // namespace
}  // namespace drover::library
