// The words for copy engines, and the suite that each of them has to pass.
#include <gtest/gtest.h>

#include <cstring>

#include "library/engines.h"
#include "library/migrator_suite.h"
#include "library/workbench.h"

namespace drover::library {
namespace {

using migrators::Answer;
using migrators::Folio;

class MigratorSuite : public testing::TestWithParam<const char*> {};

TEST_P(MigratorSuite, EveryRequirement) {
  auto bench = Workbench::Make(GetParam());
  ASSERT_TRUE(bench.has_value()) << bench.error().message;
  const auto verdicts =
      TestMigrator((*bench)->engine(), {.copies = (*bench)->spec().kind != migrators::Kind::kNull});
  EXPECT_EQ(verdicts.size(), 10u);
  for (const Verdict& verdict : verdicts)
    EXPECT_TRUE(verdict.passed) << verdict.name << ": " << verdict.note;
  if ((*bench)->spec().kind == migrators::Kind::kChannels && (*bench)->threads() > 1) {
    EXPECT_GT((*bench)->out_of_order(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, MigratorSuite,
                         testing::Values("serial", "threads:1", "threads:2", "threads:4",
                                         "channels:1", "channels:2", "channels:4", "channels:8",
                                         "null", "fault:fail", "fault:fail-all:over=channels:2"));

// The suite finds what it is there to find.
class Deceiver final : public migrators::Migrator {
 public:
  enum class How { kSkipsOne, kWritesBehind, kTakesTwo, kTakesNothing, kSpoilsSource };
  explicit Deceiver(How how) : how_(how) {}

  Answer Submit(std::span<Folio> folios) override {
    if (!folios_.empty() && how_ != How::kTakesTwo) return Answer::kBusy;
    if (folios.empty()) return how_ == How::kTakesNothing ? Answer::kTaken : Answer::kTooSmall;
    folios_ = folios;
    return Answer::kTaken;
  }
  bool Poll(uint64_t) override {
    bool first = true;
    for (Folio& folio : folios_) {
      auto* const target = reinterpret_cast<char*>(folio.target);
      auto* const source = reinterpret_cast<char*>(folio.source);
      if (!first || how_ != How::kSkipsOne) std::memcpy(target, source, folio.length_bytes);
      if (how_ == How::kWritesBehind && folio.length_bytes == kPageBytes)
        target[folio.length_bytes] ^= 1;
      if (how_ == How::kSpoilsSource) source[8] ^= 1;
      folio.copied = true;
      first = false;
    }
    folios_ = {};
    return true;
  }

 private:
  How how_;
  std::span<Folio> folios_;
};

TEST(Suite, FindsWhatIsWrong) {
  using How = Deceiver::How;
  for (const How how : {How::kSkipsOne, How::kWritesBehind, How::kTakesTwo, How::kTakesNothing,
                        How::kSpoilsSource}) {
    Deceiver deceiver(how);
    int failed = 0;
    for (const Verdict& verdict : TestMigrator(deceiver, {})) failed += verdict.passed ? 0 : 1;
    EXPECT_GE(failed, 1) << static_cast<int>(how);
  }
}

// As `threads` with a helper that lost its CPU: it has answered and still reads the list.
class LateReader final : public migrators::Migrator {
 public:
  Answer Submit(std::span<Folio> folios) override {
    Read();
    if (folios.empty()) return Answer::kTooSmall;
    if (waits_ || reads_left_ > 0) return Answer::kBusy;
    waits_ = true;
    folios_ = folios;
    as_submitted_.assign(folios.begin(), folios.end());
    return Answer::kTaken;
  }
  bool Poll(uint64_t) override {
    for (Folio& folio : folios_) {
      std::memcpy(reinterpret_cast<void*>(folio.target), reinterpret_cast<void*>(folio.source),
                  folio.length_bytes);
      folio.copied = true;
    }
    waits_ = false;
    reads_left_ = 3;
    return true;
  }
  bool HoldsAddresses() override {
    Read();
    return reads_left_ > 0;
  }
  uint64_t reads() const { return reads_; }
  uint64_t other_lists() const { return other_lists_; }

 private:
  void Read() {
    if (reads_left_ == 0) return;
    --reads_left_;
    ++reads_;
    bool same = true;
    for (size_t i = 0; i < as_submitted_.size(); ++i)
      same = same && folios_[i].source == as_submitted_[i].source &&
             folios_[i].target == as_submitted_[i].target;
    other_lists_ += same ? 0 : 1;
  }

  std::span<Folio> folios_;
  std::vector<Folio> as_submitted_;
  bool waits_ = false;
  int reads_left_ = 0;
  uint64_t reads_ = 0, other_lists_ = 0;
};

TEST(Suite, KeepsListsUntilTheyAreLetGoOf) {
  LateReader reader;
  for (const Verdict& verdict : TestMigrator(reader, {.folios_max = 512}))
    EXPECT_TRUE(verdict.passed) << verdict.name << ": " << verdict.note;
  EXPECT_GT(reader.reads(), 500u);
  EXPECT_EQ(reader.other_lists(), 0u);
}

TEST(Channels, AnswerPerDescriptor) {
  auto bench = Workbench::Make("channels:1");
  ASSERT_TRUE(bench.has_value());
  alignas(kPageBytes) static char from[4 * kPageBytes], to[4 * kPageBytes];
  std::memset(from, 7, sizeof from);
  const auto at = [](char* start, int page) {
    return reinterpret_cast<uint64_t>(start) + static_cast<uint64_t>(page) * kPageBytes;
  };
  Folio folios[] = {{at(from, 0), at(to, 0), kPageBytes, false},
                    {at(from, 1), at(from, 1), kPageBytes, false},    // onto itself
                    {at(from, 2) + 8, at(to, 2), kPageBytes, false},  // no page
                    {at(from, 3), at(to, 3), kPageBytes, false}};
  ASSERT_EQ((*bench)->engine().Submit(folios), Answer::kTaken);
  while (!(*bench)->engine().Poll(~uint64_t{0})) {
  }
  EXPECT_FALSE(folios[1].copied);
  EXPECT_FALSE(folios[2].copied);
  if (folios[0].copied) {
    EXPECT_EQ(to[0], 7);
  }  // (else no CPU was to be had)
  EXPECT_EQ(folios[0].copied, folios[3].copied);
  EXPECT_EQ(to[2 * kPageBytes], 0);
}

TEST(Engines, InWords) {
  for (const char* words :
       {"serial", "threads:1", "threads:16", "threads:2:always", "channels:8", "null", "fault:fail",
        "fault:hang", "fault:late:over=threads:2", "fault:flip:over=channels:4"}) {
    flow::Job job;
    ASSERT_TRUE(ParseEngines(words, {}, &job).has_value()) << words;
    ASSERT_EQ(job.engine_count, 1u);
    EXPECT_EQ(WordsOf(job.engines[0]), words);
  }
  flow::Job job;
  ASSERT_TRUE(ParseEngines("threads:2,channels:4,serial", {}, &job).has_value());
  ASSERT_EQ(job.engine_count, 3u);
  EXPECT_EQ(WordsOf(job.engines[1]), "channels:4");
}

TEST(Engines, ThatDoNotExist) {
  for (const char* words : {"",
                            ",",
                            "serial,",
                            "swift",
                            "serial:2",
                            "threads",
                            "threads:",
                            "threads:0",
                            "threads:17",
                            "threads:-1",
                            "threads:02",
                            "threads:2:3",
                            "threads:always",
                            "threads:2:always:always",
                            "channels:2:always",
                            "channels:9",
                            "null:1",
                            "fault",
                            "fault:",
                            "fault:bad",
                            "fault:fail:over=",
                            "fault:fail:over=null",
                            "fault:fail:over=fault:fail",
                            "fault:fail:under=serial",
                            "serial,serial",
                            "threads:2,threads:4",
                            "threads:2,fault:fail:over=threads:2",
                            "threads:16,channels:1",
                            "serial,null,threads:1,channels:1,fault:fail"}) {
    flow::Job job;
    const auto parsed = ParseEngines(words, {}, &job);
    ASSERT_FALSE(parsed.has_value()) << words;
    EXPECT_EQ(parsed.error().kind, Error::Kind::kUsage);
    EXPECT_NE(parsed.error().message.find('\''), std::string::npos) << parsed.error().message;
  }
}

TEST(Engines, ForAReason) {
  flow::Job job;
  ASSERT_TRUE(ParseReason("demotion", &job).has_value());
  EXPECT_EQ(job.reason, flow::Reason::kDemotion);
  ASSERT_FALSE(ParseReason("whim", &job).has_value());
  EXPECT_NE(ParseReason("whim", &job).error().message.find("longterm_pin"), std::string::npos);
}

}  // namespace
}  // namespace drover::library
