// What drover tune has written, and what auto makes of it.
#include "library/profile.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "library/await_release.h"
#include "library/engines.h"
#include "library/workbench.h"

namespace drover::library {
namespace {

using migrators::CopyWay;
using migrators::Kind;

class Profiles : public testing::Test {
 protected:
  Profiles()
      : folder_(std::filesystem::temp_directory_path() /
                ("drover-profile-" + std::to_string(getpid()))),
        path_((folder_ / "below" / "profile.json").string()) {
    setenv("DROVER_PROFILE", path_.c_str(), 1);
  }
  ~Profiles() override {
    unsetenv("DROVER_PROFILE");
    std::filesystem::remove_all(folder_);
  }
  static Profile Here() {
    Profile profile;
    profile.machine = MachineNow();
    profile.measured = "2026-01-01T00:00:00Z";
    Profile::Pair& pair = profile.pairs.emplace_back();
    pair.copy_ways = {CopyWay::kRepMovsb, CopyWay::kStream128, 1 << 20};
    pair.measured_ways = {{CopyWay::kRepMovsb, 9.5}};
    pair.engines = {{{.kind = Kind::kThreads, .count = 3}, 512 << 10},
                    {{.kind = Kind::kChannels, .count = 2}, 0}};
    pair.chosen = 0;
    pair.batches = {{512 << 10, 3, 4, 4, {6, 4}}};
    return profile;
  }
  static flow::Job Staying() {
    flow::Job job;
    job.placement.same = true;
    return job;
  }
  static flow::Job Going(std::vector<std::pair<int, int>> ways) {
    flow::Job job;
    std::fill(std::begin(job.placement.target_of), std::end(job.placement.target_of),
              flow::Placement::kNotAsked);
    for (const auto& [source, target] : ways)
      job.placement.target_of[source] = static_cast<int16_t>(target);
    return job;
  }
  void Write(const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
    std::ofstream(path_) << text;
  }

  const std::filesystem::path folder_;
  const std::string path_;
};

TEST_F(Profiles, AreReadAsTheyWereWritten) {
  ASSERT_TRUE(SaveProfile(Here(), path_).has_value());
  const Known known = LoadProfile();
  ASSERT_TRUE(known.profile.has_value()) << known.notice;
  EXPECT_EQ(known.path, path_);
  ASSERT_EQ(known.profile->pairs.size(), 1u);
  const Profile::Pair& pair = known.profile->pairs[0];
  EXPECT_EQ(pair.copy_ways.small, CopyWay::kRepMovsb);
  EXPECT_EQ(pair.copy_ways.large, CopyWay::kStream128);
  EXPECT_EQ(pair.copy_ways.large_from_bytes, 1u << 20);
  ASSERT_EQ(pair.engines.size(), 2u);
  EXPECT_EQ(pair.engines[1].spec.kind, Kind::kChannels);
  ASSERT_NE(pair.Chosen(), nullptr);
  EXPECT_EQ(pair.Chosen()->spec.count, 3u);
  EXPECT_EQ(pair.Chosen()->smallest_bytes, 512u << 10);
  EXPECT_FALSE(SaveProfile(Here(), "/proc/nothing/profile.json").has_value());
}

TEST_F(Profiles, AutoGoesBySizeAndReason) {
  ASSERT_TRUE(SaveProfile(Here(), path_).has_value());
  flow::Job job = Staying();
  ASSERT_TRUE(ParseEngines("auto", {}, &job).has_value());
  EXPECT_EQ(job.copy_ways.small, CopyWay::kRepMovsb);
  EXPECT_EQ(job.copy_ways.large_from_bytes, 1u << 20);
  ASSERT_EQ(job.engine_count, 1u);
  EXPECT_EQ(job.engines[0].kind, Kind::kThreads);
  EXPECT_EQ(job.engines[0].count, 3u);
  const auto allow = [&](flow::Reason reason, uint64_t bytes) {
    return job.terms[0].Allow(static_cast<uint32_t>(reason), bytes);
  };
  EXPECT_TRUE(allow(flow::Reason::kSyscall, 512 << 10));
  EXPECT_FALSE(allow(flow::Reason::kSyscall, (512 << 10) - 1));
  EXPECT_FALSE(allow(flow::Reason::kDemotion, 4 << 20)) << "nobody waits for it";
  // A named engine has none of these terms, but the copy function.
  flow::Job named = Staying();
  ASSERT_TRUE(ParseEngines("threads:2", {}, &named).has_value());
  EXPECT_EQ(named.copy_ways.large, CopyWay::kStream128);
  EXPECT_TRUE(named.terms[0].Allow(static_cast<uint32_t>(flow::Reason::kDemotion), 1));
}

// By the nodes of a job; where it has several pairs, the most cautious of them.
TEST_F(Profiles, EachPairOfNodesHasItsOwn) {
  Profile profile = Here();
  const Profile::Pair same = profile.pairs[0];
  const auto add = [&](int source, int target, uint64_t smallest_bytes) {
    Profile::Pair& pair = profile.pairs.emplace_back(same);
    pair.source = source, pair.target = target;
    pair.engines[0].smallest_bytes = smallest_bytes;
    if (smallest_bytes == 0) pair.chosen = -1;
  };
  add(0, 1, 64 << 10), add(2, 1, 256 << 10), add(1, 0, 0), add(0, 2, 32 << 10);
  ASSERT_TRUE(SaveProfile(profile, path_).has_value());
  const auto smallest = [](flow::Job job) {
    EXPECT_TRUE(ParseEngines("auto", {}, &job).has_value());
    return job.engines[0].kind == Kind::kSerial ? 0 : job.terms[0].smallest_bytes;
  };
  EXPECT_EQ(smallest(Staying()), 512u << 10);
  EXPECT_EQ(smallest(Going({{0, 1}})), 64u << 10);
  EXPECT_EQ(smallest(Going({{0, 1}, {1, 1}, {2, 1}})), 256u << 10);
  EXPECT_EQ(smallest(Going({{0, 1}, {1, 0}})), 0u) << "one of them does not pay";
  EXPECT_EQ(smallest(Going({{3, 1}})), 256u << 10) << "not measured: as without a profile";
  flow::Job spread = Going({{0, flow::Placement::kSpread}});
  spread.placement.spread_count = 2;
  spread.placement.spread[0] = 1, spread.placement.spread[1] = 2;
  EXPECT_EQ(smallest(spread), 64u << 10);
}

TEST_F(Profiles, WhereHelpersNeverPayAutoIsSerial) {
  Profile profile = Here();
  profile.pairs[0].chosen = -1;
  ASSERT_TRUE(SaveProfile(profile, path_).has_value());
  flow::Job job = Staying();
  ASSERT_TRUE(ParseEngines("auto", {}, &job).has_value());
  EXPECT_EQ(job.engines[0].kind, Kind::kSerial);
}

TEST_F(Profiles, WithoutOneThereAreDefaults) {
  const Known known = LoadProfile();
  EXPECT_EQ(known.notice, "");
  flow::Job job;
  ASSERT_TRUE(ParseEngines("auto", {}, &job).has_value());
  EXPECT_EQ(job.copy_ways.large, CopyWay::kCount);
  EXPECT_EQ(job.engines[0].kind, Kind::kThreads);
  EXPECT_FALSE(ParseEngines("auto,serial", {}, &job).has_value());
}

// Whatever stands there, drover works, and says why it does not use it.
TEST_F(Profiles, ThatAreNotForThisDroverAreIgnoredWithANotice) {
  nlohmann::json other = ProfileToJson(Here()), newer = other, bare = other, odd = other,
                 many = other;
  other["machine"] = "another one";
  newer["profile_version"] = 99;
  bare["pairs"][0].erase("engines");
  odd["pairs"][0]["copy_function_small"] = "by hand";
  many["pairs"][0]["engines"][0]["migrator"] = "threads:1000";
  const std::pair<std::string, const char*> cases[] = {
      {other.dump(), "another machine"}, {newer.dump(), "version 99"}, {bare.dump(), "engines"},
      {odd.dump(), "has not"},           {many.dump(), "has not"},     {"{", "cannot be read"},
      {"[1]", "cannot be read"},         {"{}", "version null"}};
  for (const auto& [text, words] : cases) {
    Write(text);
    const Known known = LoadProfile();
    EXPECT_FALSE(known.profile.has_value()) << text;
    EXPECT_NE(known.notice.find(words), std::string::npos) << known.notice;
    EXPECT_NE(known.notice.find(path_), std::string::npos);
    flow::Job job;
    EXPECT_TRUE(ParseEngines("auto", {}, &job).has_value());
    EXPECT_EQ(job.copy_ways.large, CopyWay::kCount);
  }
}

// Both sides of the threshold.
TEST_F(Profiles, AutoCopies) {
  Profile profile = Here();
  profile.pairs[0].engines[0].smallest_bytes = 128 << 10;
  profile.pairs[0].copy_ways.large_from_bytes = 32 << 10;
  ASSERT_TRUE(SaveProfile(profile, path_).has_value());
  auto bench = Workbench::Make("auto");
  ASSERT_TRUE(bench.has_value()) << bench.error().message;
  alignas(kPageBytes) static char from[64 * kPageBytes], to[64 * kPageBytes];
  for (const uint64_t pages : {1, 31, 32, 64}) {
    std::fill(std::begin(from), std::end(from), static_cast<char>(pages));
    std::vector<migrators::Folio> folios;
    for (uint64_t i = 0; i < pages; ++i)
      folios.push_back({reinterpret_cast<uint64_t>(from + i * kPageBytes),
                        reinterpret_cast<uint64_t>(to + i * kPageBytes), kPageBytes, false});
    ASSERT_EQ((*bench)->engine().Submit(folios), migrators::Answer::kTaken);
    while (!(*bench)->engine().Poll(~uint64_t{0})) {
    }
    ASSERT_TRUE(AwaitRelease((*bench)->engine(), std::chrono::seconds(10)));
    for (uint64_t at = 0; at < pages * kPageBytes; ++at)
      ASSERT_EQ(to[at], static_cast<char>(pages));
  }
}

TEST(CopyWays, EachThatIsSupportedCopiesWholePagesAndNothingElse) {
  alignas(kPageBytes) static unsigned char from[5 * kPageBytes], to[5 * kPageBytes];
  for (size_t i = 0; i < sizeof from; ++i) from[i] = static_cast<unsigned char>(i * 7 + i / 256);
  uint32_t supported = 0;
  for (uint32_t i = 0; i < migrators::kCopyWayCount; ++i) {
    const auto way = static_cast<CopyWay>(i);
    if (!IsSupported(way)) continue;
    ++supported;
    for (const uint64_t pages : {1, 3}) {
      std::fill(std::begin(to), std::end(to), 0xee);
      FunctionOf(way)(reinterpret_cast<uint64_t>(to + kPageBytes),
                      reinterpret_cast<uint64_t>(from + kPageBytes), pages * kPageBytes);
      for (uint64_t at = 0; at < sizeof to; ++at) {
        const bool inside = at >= kPageBytes && at < (1 + pages) * kPageBytes;
        ASSERT_EQ(to[at], inside ? from[at] : 0xee) << NameOf(way) << " " << at;
      }
    }
  }
  EXPECT_GE(supported, 4u);
  EXPECT_TRUE(IsSupported(migrators::DefaultCopyWay()));
}

}  // namespace
}  // namespace drover::library
