// The plugin for DPDK's DMA devices, where it is built.
#ifdef DROVER_DPDK_PLUGIN

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <filesystem>

#include "library/migrator_suite.h"
#include "library/workbench.h"

namespace drover::library {
namespace {

const std::string kDpdk = DROVER_DPDK_PLUGIN;

class Dpdk : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(Channels, Dpdk, testing::Values(1, 2, 4));

TEST_P(Dpdk, DoesWhatEachEngineHasTo) {
  auto bench = Workbench::Make(kDpdk + ":channels=" + std::to_string(GetParam()));
  ASSERT_TRUE(bench.has_value()) << bench.error().message;
  EXPECT_EQ((*bench)->threads(), static_cast<unsigned>(GetParam()));
  for (const Verdict& verdict : TestMigrator((*bench)->engine(), {}))
    EXPECT_TRUE(verdict.passed) << verdict.name << ": " << verdict.note;
}

// Devices come and go; DPDK itself starts once in a process.
TEST(DpdkDevices, ComeAndGoAndAreRefusedInWords) {
  for (int i = 0; i < 20; ++i) {
    auto bench = Workbench::Make(kDpdk + ":channels=2:ring=64");
    ASSERT_TRUE(bench.has_value()) << bench.error().message;
  }
  const std::pair<const char*, const char*> wrong[] = {{":channels=17", "too many"},
                                                       {":channels=0", "is no option"},
                                                       {":ring=100", "power of two"},
                                                       {":rings=64", "is no option"},
                                                       {":channels=2:ring=", "is no option"}};
  for (const auto& [options, words] : wrong) {
    const auto bench = Workbench::Make(kDpdk + options);
    ASSERT_FALSE(bench.has_value()) << options;
    EXPECT_NE(bench.error().message.find(words), std::string::npos) << bench.error().message;
  }
}

// A channel's thread that is just about to sleep when its engine is closed must not sleep for ever.
TEST(DpdkDevices, ComeAndGoWhereThreadsSleepLate) {
  const std::string again = "LD_PRELOAD=" + std::string(DROVER_PLUGINS) +
                            "late-wait.so timeout 60 " +
                            std::filesystem::read_symlink("/proc/self/exe").string() +
                            " --gtest_filter=DpdkDevices.ComeAndGoAndAreRefusedInWords > /dev/null";
  EXPECT_EQ(std::system(again.c_str()), 0);
}

TEST(DpdkDevices, MoveMemoryOfThisProcess) {
  auto engine = Engine::Open({});
  ASSERT_TRUE(engine.has_value()) << engine.error().message;
  ASSERT_TRUE((*engine)->LoadMigrator(kDpdk, "channels=2").has_value());
  constexpr size_t kBytes = 8 << 20;
  auto* const words = static_cast<uint64_t*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (size_t i = 0; i < kBytes / 8; ++i) words[i] = i;
  MoveRequest request;
  request.ranges = {{words, kBytes}};
  request.migrator = "dpdk,serial";
  const auto result = (*engine)->Move(request);
  ASSERT_TRUE(result.has_value()) << result.error().message;
  EXPECT_EQ(result->pages_moved, kBytes / 4096);
  EXPECT_GT(result->by_migrator[0].pages, 0u);
  for (size_t i = 0; i < kBytes / 8; ++i) ASSERT_EQ(words[i], i);
  munmap(words, kBytes);
  EXPECT_TRUE((*engine)->UnloadMigrator("dpdk", 5).has_value());
}

// It would start DPDK in a program that is not drover's.
TEST(DpdkDevices, AreRefusedInAForeignProcess) {
  OpenPlugin opened;
  char why[512] = "";
  EXPECT_EQ(Open(kDpdk.c_str(), "", House::kForeignProcess, &opened, why, sizeof why),
            PluginTrouble::kNotHere);
  EXPECT_NE(std::string(why).find("a process of its own"), std::string::npos) << why;
}

}  // namespace
}  // namespace drover::library

#endif
