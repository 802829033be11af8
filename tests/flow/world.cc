#include "flow/world.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

namespace drover::flow {
namespace {

constexpr uint64_t kArenaBytes = uint64_t{384} << 20;
constexpr unsigned kHangSeconds = 60;

void CopyPlainly(uint64_t target, uint64_t source, uint64_t length_bytes) {
  std::memcpy(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), length_bytes);
}

// A flow that never ends must not take the whole suite with it unnamed: the runner prints the test
// that was under way.
void EndAfterHang(int) {
  constexpr char kText[] = "a job of the flow did not end\n";
  (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(3);
}

}  // namespace

// ---- the ledger

void Recorder::PagesDone(uint64_t address, uint64_t pages, int32_t, Outcome outcome, Why why) {
  for (uint64_t i = 0; i < pages; ++i) {
    const auto [it, fresh] = fates.insert({address + i * kPageBytes, {outcome, why}});
    if (!fresh) ++told_twice;
    it->second = {outcome, why};
  }
}

uint64_t Recorder::Count(Range range, Outcome outcome) const {
  uint64_t count = 0;
  for (const auto& [page, fate] : fates) count += range.Contains(page) && fate.outcome == outcome;
  return count;
}

uint64_t Recorder::Count(Range range, Why why) const {
  uint64_t count = 0;
  for (const auto& [page, fate] : fates)
    count += range.Contains(page) && fate.outcome == Outcome::kNotMoved && fate.why == why;
  return count;
}

// ---- making a world

ModelKernel::Options World::Nodes(uint32_t count) {
  ModelKernel::Options options;
  options.arena_bytes = kArenaBytes;
  options.node_count = count;
  return options;
}

ModelKernel::Options World::RoomForRings() {
  ModelKernel::Options options = Nodes(2);
  options.arena_bytes = uint64_t{4} << 30;  // addresses; what is kept is bounded
  return options;
}

World::World(const ModelKernel::Options& options)
    : model(options),
      kernel(model),
      app(model.application()),
      stacks_(std::make_unique_for_overwrite<std::byte[]>(
          threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes + kPageBytes)) {
  std::string zones;
  for (uint32_t node = 0; node < options.node_count; ++node)
    zones += "Node " + std::to_string(node) +
             ", zone   Normal\n  pages free     1000000\n        min      10\n"
             "        low      20\n        high     30\n";
  model.SetFile("/proc/zoneinfo", zones);
  MakeEngineHere();
  signal(SIGALRM, EndAfterHang);
}

World::~World() {
  alarm(0);
}

void World::MakeEngineHere() {
  const uint64_t stacks = RoundUp(reinterpret_cast<uint64_t>(stacks_.get()), kPageBytes);
  const Range range{stacks,
                    threads::PosixThreads::kThreadsMax * threads::PosixThreads::kStackBytes};
  threads_ = std::make_unique<threads::PosixThreads>(range);
  ControlBlockLayout layout;
  layout.known = true;
  layout.head_offset = 0x2e0;
  layout.block_bytes = 0x900;
  engine = MakeEngine({.kernel = kernel,
                       .threads = *threads_,
                       .gate = gate,
                       .copy = CopyPlainly,
                       .control_blocks = layout,
                       .young = &young},
                      range);
  EXPECT_NE(engine, nullptr);
}

// ---- the application's memory

Range World::Map(uint64_t pages, const MapOptions& options) {
  const Range range{app.Map(pages * kPageBytes, options), pages * kPageBytes};
  EXPECT_NE(range.start, 0u) << "the model's arena is full";
  return range;
}

Range World::MapFilled(uint64_t pages, const MapOptions& options) {
  const Range range = Map(pages, options);
  Fill(range);
  return range;
}

Range World::MapFilledHuge(uint64_t huge_pages) {
  MapOptions options;
  options.huge_advised = true;
  return MapFilled(huge_pages * kPagesPerHuge, options);
}

void World::Fill(Range range) {
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes) {
    seeds_[page] = ++last_seed_;
    app.Fill({page, kPageBytes}, last_seed_);
  }
}

void World::ExpectZeros(Range range) {
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes) seeds_[page] = kZeros;
}

void World::ExpectNothing(Range range) {
  seeds_.erase(seeds_.lower_bound(range.start), seeds_.lower_bound(range.end()));
}

void World::ExpectMoved(Range range, uint64_t target) {
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes) {
    const auto it = seeds_.find(page);
    if (it == seeds_.end()) continue;
    seeds_[page - range.start + target] = it->second;
    seeds_.erase(it);
  }
}

// ---- jobs

Job World::ToSame() const {
  Job job;
  job.placement.same = true;
  job.placement.node_count = 2;
  return job;
}

Job World::ToNode(int16_t node) const {
  Job job = ToSame();
  job.placement.same = false;
  for (int16_t& target : job.placement.target_of) target = node;
  return job;
}

Job World::WithHelper() const {
  Job job = ToSame();
  job.engines[0] = {.kind = migrators::Kind::kThreads, .count = 2};
  job.helper_count = 1;
  job.helper_cpus[0] = -1;
  return job;
}

const JobResult& World::Run(const Job& job) {
  result = JobResult();
  recorder.fates.clear();
  alarm(kHangSeconds);
  RunJob(*engine, job, recorder, &result);
  alarm(0);
  model.SetHook(nullptr);
  CheckLedger();
  return result;
}

void World::CheckLedger() {
  EXPECT_EQ(recorder.told_twice, 0u) << "pages were booked twice";
  EXPECT_EQ(result.pages_requested, result.pages_moved + result.pages_already_there +
                                        result.pages_gone + result.pages_not_moved);
  EXPECT_EQ(result.pages_moved, result.moved_own_path + result.moved_kernel_path);
  uint64_t why_pages = 0;
  for (const uint64_t pages : result.not_moved_why) why_pages += pages;
  EXPECT_EQ(result.pages_not_moved, why_pages);
  EXPECT_EQ(result.pages_requested, recorder.fates.size());
  const Range all{0, ~uint64_t{0}};
  EXPECT_EQ(result.pages_moved, recorder.Count(all, Outcome::kMoved));
  EXPECT_EQ(result.pages_already_there, recorder.Count(all, Outcome::kAlreadyThere));
  EXPECT_EQ(result.pages_gone, recorder.Count(all, Outcome::kGone));
  for (uint32_t why = 0; why < kWhyCount; ++why)
    EXPECT_EQ(result.not_moved_why[why], recorder.Count(all, static_cast<Why>(why))) << why;
}

void World::Before(Call call, uint64_t nth, std::function<void()> act) {
  const uint64_t wanted = model.Calls(call) + nth;
  model.SetHook([=](Call seen, uint64_t count) {
    if (seen == call && count == wanted) act();
  });
}

}  // namespace drover::flow
