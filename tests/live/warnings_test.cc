// Read below a root of the test's own, in the kernel's form (proc(5), numa(7)).
#include "cli/warnings.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace drover::cli {
namespace {

class Warnings : public testing::Test {
 protected:
  Warnings() {
    char folder[] = "/tmp/drover-root-XXXXXX";
    root_ = mkdtemp(folder);
    std::filesystem::create_directories(root_ / "proc/7");
    std::filesystem::create_directories(root_ / "proc/sys/kernel");
    Write("proc/sys/kernel/numa_balancing", "0\n");
    Write("proc/7/status", "Name:\tx\nMems_allowed:\t3\nMems_allowed_list:\t0-1\n");
    Write("proc/7/numa_maps", "00400000 default file=/bin/x mapped=3 N0=3 kernelpagesize_kB=4\n");
  }
  ~Warnings() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::ofstream(root_ / path) << text;
  }
  std::vector<std::string> Ask(int16_t target) {
    flow::Placement placement;
    placement.node_count = 2;
    for (int16_t& each : placement.target_of) each = target;
    return WarningsFor(root_, 7, placement);
  }

  std::filesystem::path root_;
};

TEST_F(Warnings, NoneWhereNothingIsInTheWay) {
  EXPECT_TRUE(Ask(1).empty());
}

TEST_F(Warnings, OfBalancing) {
  Write("proc/sys/kernel/numa_balancing", "1\n");
  ASSERT_EQ(Ask(1).size(), 1u);
  EXPECT_NE(Ask(1)[0].find("sysctl kernel.numa_balancing=0"), std::string::npos);
}

TEST_F(Warnings, OfACpusetWithoutTheTarget) {
  Write("proc/7/status", "Mems_allowed_list:\t0\n");
  ASSERT_EQ(Ask(1).size(), 1u);
  EXPECT_NE(Ask(1)[0].find("has no node 1"), std::string::npos);
  EXPECT_TRUE(Ask(0).empty());
}

TEST_F(Warnings, OfMappingsBoundElsewhere) {
  Write("proc/7/numa_maps",
        "7f0000000000 bind:0 anon=512 dirty=512 N0=512 kernelpagesize_kB=4\n"
        "7f0000400000 bind=static:0 anon=1 N0=1\n"
        "7f0000600000 bind:0-1 anon=1 N0=1\n"
        "7f0000800000 prefer:0 anon=1 N0=1\n");
  ASSERT_EQ(Ask(1).size(), 1u);
  EXPECT_TRUE(Ask(1)[0].starts_with("2 mappings")) << Ask(1)[0];
  EXPECT_TRUE(Ask(0).empty());
}

}  // namespace
}  // namespace drover::cli
