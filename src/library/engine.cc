#include "drover/engine.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstring>
#include <new>
#include <optional>

#include "flow/flow.h"
#include "flow/own_path.h"
#include "kernel/linux_kernel.h"
#include "kernel/raw_syscall.h"
#include "library/control_block_layout.h"
#include "library/engines.h"
#include "library/fast_clock.h"
#include "library/fork_gate.h"
#include "library/helper_cpus.h"
#include "library/hosted_plugins.h"
#include "library/own_memory.h"
#include "library/result.h"
#include "migrators/copy_function.h"
#include "report/words.h"
#include "threads/posix_threads.h"
#include "topology/nodes.h"

namespace drover {
namespace {

using kernel::Errno;
using threads::PosixThreads;

constexpr uint64_t kStacksBytes = PosixThreads::kThreadsMax * PosixThreads::kStackBytes;

// In pages of its own: what the engine's threads touch in a window must not lie beside the caller's
// data on the heap, which may be what is being moved.
class HostedEngine final : public Engine, private flow::Observer {
 public:
  static void* operator new(size_t bytes) {
    void* room = mmap(nullptr, RoundUp(bytes, kPageBytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED ? throw std::bad_alloc() : room;
  }
  static void operator delete(void* room, size_t bytes) {
    munmap(room, RoundUp(bytes, kPageBytes));
  }

  ~HostedEngine() override {
    if (gate_ != &own_gate_) library::CloseForkGate();
    // (Else a plugin may still write there: better lost than reused.)
    if (plugins_.CloseAll() && engine_ != nullptr) flow::UnmapEngine(*engine_);
    for (const Range stacks : {stacks_, mover_stack_})
      if (!stacks.empty()) kernel_.Unmap(stacks);
    kernel_.Close();
  }

  std::expected<void, Error> Start(const Options& options);
  std::expected<MoveResult, Error> Move(const MoveRequest& request) override;
  void Cancel() override { cancelled_.store(true, std::memory_order_relaxed); }
  std::expected<std::string, Error> LoadMigrator(const std::string& path,
                                                 const std::string& options) override {
    return plugins_.Load(path, options);
  }
  std::expected<void, Error> UnloadMigrator(const std::string& name, double timeout_s) override {
    return plugins_.Unload(name, timeout_s);
  }
  std::expected<void, Error> SetMigrator(const std::string& name,
                                         const MigratorSettings& settings) override {
    return plugins_.Set(name, settings);
  }
  std::vector<MigratorState> Migrators() override { return plugins_.List(); }
  std::string OwnPathRefused() const override { return report::WordsOf(trouble_, 0); }

 private:
  bool OpenUserfault(uint64_t features);
  flow::Trouble OpenOwnPath();
  std::expected<flow::Job, Error> JobOf(const MoveRequest& request);
  void PagesDone(uint64_t, uint64_t pages, int32_t, flow::Outcome, flow::Why) override {
    pages_done_ += pages;
  }
  flow::Next GoOn(const flow::JobResult& so_far) override;
  void WindowClosed(Range live, const flow::WindowTimes& window, bool preempted) override {
    if (request_->window)
      request_->window({{reinterpret_cast<const void*>(live.start), live.length},
                        window.opened_cycles,
                        window.closed_cycles,
                        preempted});
  }
  Range MapOwn(uint64_t bytes);

  kernel::LinuxKernel kernel_;
  Range stacks_, mover_stack_;
  std::optional<PosixThreads> threads_, mover_;
  flow::Gate own_gate_;
  flow::Gate* gate_ = &own_gate_;
  bool self_test_ = false, fork_events_ = true;
  flow::Engine* engine_ = nullptr;
  flow::Trouble trouble_ = flow::Trouble::kNone;
  library::Boundary boundary_;
  library::HostedPlugins plugins_;
  std::atomic<bool> cancelled_ = false;

  // The job in hand.
  const MoveRequest* request_ = nullptr;
  flow::Job job_;
  flow::JobResult result_;
  library::HelperCpus helper_cpus_;
  uint64_t pages_done_ = 0;
  uint64_t begin_ns_ = 0;
};

// Stacks are inherited by children, unlike the areas: libc keeps its list of threads in their
// control blocks, and walks it in every child.
Range HostedEngine::MapOwn(uint64_t bytes) {
  const auto mapped = kernel_.Map(bytes);
  if (!mapped.has_value()) return {};
  return {*mapped, bytes};
}

std::expected<void, Error> HostedEngine::Start(const Options& options) {
  if (const Errno error = kernel_.OpenFiles(); error != Errno::kOk)
    return std::unexpected(Error{Error::Kind::kFailed,
                                 fmt::format("/proc/self/pagemap or maps could not be opened: {}",
                                             std::strerror(static_cast<int>(error)))});
  kernel_.UseClock(library::FindFastClock());
  stacks_ = MapOwn(kStacksBytes);
  mover_stack_ = MapOwn(kStacksBytes);
  if (stacks_.empty() || mover_stack_.empty())
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the engine's stacks"});
  threads_.emplace(stacks_);
  mover_.emplace(mover_stack_);
  trouble_ = options.own_path ? OpenOwnPath() : flow::Trouble::kNoRights;
  const flow::Parts parts{.kernel = kernel_,
                          .threads = *threads_,
                          .gate = *gate_,
                          .copy = migrators::FastestCopyFunction(),
                          .control_blocks = library::AskControlBlockLayout(),
                          .visible_userfaults = 1,
                          .self_test = self_test_,
                          .fork_events = fork_events_};
  engine_ = flow::MakeEngine(parts, stacks_);
  if (engine_ == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the engine's own areas"});
  plugins_.Use(engine_, &boundary_);
  flow::AddOwn(*engine_, mover_stack_);
  flow::AddOwn(*engine_, {kernel::AddressOf(this), RoundUp(sizeof *this, kPageBytes)});
  for (const Range& image : library::WritableImages()) flow::AddOwn(*engine_, image);
  return {};
}

flow::Trouble HostedEngine::OpenOwnPath() {
  const flow::Trouble trouble = flow::CheckKernel(kernel_, &self_test_);
  if (trouble != flow::Trouble::kNone) return trouble;
  if (OpenUserfault(kernel::kFeaturesWanted)) return flow::Trouble::kNone;
  // Fork events take CAP_SYS_PTRACE; a fork then waits for the batch boundary instead.
  flow::Gate* const gate = library::OpenForkGate();
  if (gate == nullptr) return flow::Trouble::kNoRights;
  gate_ = gate;
  fork_events_ = false;
  if (OpenUserfault(kernel::kFeaturesWanted & ~kernel::kFeatureEventFork))
    return flow::Trouble::kNone;
  return flow::Trouble::kNoRights;
}

bool HostedEngine::OpenUserfault(uint64_t features) {
  const auto userfault = kernel::LinuxKernel::OpenUserfault();
  if (!userfault.has_value()) return false;
  if (kernel::LinuxKernel::ShakeHands(*userfault, features) != Errno::kOk) {
    close(*userfault);
    return false;
  }
  kernel_.descriptors().userfault = *userfault;
  return true;
}

namespace {

std::expected<void, Error> Place(const Target& target, flow::Placement* placement) {
  const auto nodes = topology::ReadNodes("/");
  placement->node_count = nodes.id_limit();
  placement->same = target.node < 0;
  if (!placement->same && !nodes.HasMemory(target.node))
    return std::unexpected(Error{Error::Kind::kUnavailable,
                                 fmt::format("node {} does not exist or has no memory; nodes with "
                                             "memory: {}",
                                             target.node, nodes.MemoryList())});
  for (int16_t& node : placement->target_of) node = static_cast<int16_t>(target.node);
  return {};
}

}  // namespace

std::expected<flow::Job, Error> HostedEngine::JobOf(const MoveRequest& request) {
  flow::Job job;
  const auto usage = [](std::string message) {
    return std::unexpected(Error{Error::Kind::kUsage, std::move(message)});
  };
  if (const auto placed = Place(request.target, &job.placement); !placed.has_value())
    return std::unexpected(placed.error());
  std::vector<migrators::PluginName> plugins;
  boundary_.Do([&] {
    plugins.assign(engine_->registry.names(), engine_->registry.names() + migrators::kPluginsMax);
  });
  if (const auto parsed = library::ParseEngines(request.migrator, plugins, &job);
      !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto parsed = library::ParseReason(request.reason, &job); !parsed.has_value())
    return std::unexpected(parsed.error());
  if (const auto checked = library::CheckBatch(request.batch_bytes); !checked.has_value())
    return std::unexpected(checked.error());
  job.batch_bytes = request.batch_bytes;
  if (const auto set = library::SetMaxStall(request.max_stall_us, &job); !set.has_value())
    return std::unexpected(set.error());
  job.over_budget = request.over_budget;
  job.precopy = static_cast<flow::Precopy>(request.precopy);
  job.copy_through = static_cast<flow::CopyThrough>(request.copy_through);
  job.verify = request.verify;
  job.plan_only = request.plan_only;
  job.mode = static_cast<flow::Mode>(request.mode);
  job.unshare = request.unshare;
  job.reuse = request.reuse;
  job.page_size = static_cast<flow::PageSize>(request.page_size);
  if (job.reuse && (job.verify || !job.placement.same))
    return usage("reuse goes with Target::Same() and without verify");
  job.expendable = request.expendable;
  if (const auto checked = library::CheckEngines(job); !checked.has_value())
    return std::unexpected(checked.error());
  if (const auto set = library::SetRetryFor(request.retry_for_s, &job); !set.has_value())
    return std::unexpected(set.error());
  if (request.ranges.empty()) return usage("no range to move; name at least one");
  if (request.ranges.size() > flow::kRangesMax)
    return usage(
        fmt::format("{} ranges are too many; at most {}", request.ranges.size(), flow::kRangesMax));
  std::vector<Range> ranges;
  for (const AddressRange& range : request.ranges) {
    const uint64_t start = reinterpret_cast<uint64_t>(range.start);
    if (range.length_bytes == 0) return usage("an empty range cannot be moved");
    const uint64_t first = RoundDown(start, kPageBytes);
    ranges.push_back({first, RoundUp(start + range.length_bytes, kPageBytes) - first});
  }
  std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.start < b.start; });
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i - 1].Overlaps(ranges[i])) return usage("two of the ranges overlap");
  job.range_count = static_cast<uint32_t>(ranges.size());
  std::copy(ranges.begin(), ranges.end(), job.ranges);
  return job;
}

flow::Next HostedEngine::GoOn(const flow::JobResult& so_far) {
  boundary_.Pass();
  if (cancelled_.load(std::memory_order_relaxed)) return flow::Next::kStop;
  if (!request_->progress) return flow::Next::kGoOn;
  const Progress progress{pages_done_, so_far.pages_estimated,
                          static_cast<double>(kernel_.NowNs() - begin_ns_) / 1e9};
  return request_->progress(progress) ? flow::Next::kGoOn : flow::Next::kStop;
}

std::expected<MoveResult, Error> HostedEngine::Move(const MoveRequest& request) {
  const auto job = JobOf(request);
  if (!job.has_value()) return std::unexpected(job.error());
  job_ = *job;
  helper_cpus_.Place(&job_, 0);
  result_ = flow::JobResult();
  result_.own_path_trouble = trouble_;
  request_ = &request;
  pages_done_ = 0;
  begin_ns_ = kernel_.NowNs();
  cancelled_.store(false, std::memory_order_relaxed);
  job_.own_path = trouble_ == flow::Trouble::kNone;
  // The mover has a stack of the engine's: the caller's may lie in a range.
  const auto body = [](void* self) {
    auto& hosted = *static_cast<HostedEngine*>(self);
    flow::RunJob(*hosted.engine_, hosted.job_, hosted, &hosted.result_);
  };
  bool known = false;
  boundary_.BeginJob([&] { known = engine_->registry.Knows(job_.Engines(), job_.plugins); });
  const bool started = known && mover_->Start(body, this) == Errno::kOk;
  if (started) mover_->JoinAll();
  boundary_.EndJob();
  if (!known)
    return std::unexpected(
        Error{Error::Kind::kUnavailable, report::WordsOf(flow::Trouble::kNoSuchEngine, 0)});
  if (!started)
    return std::unexpected(Error{Error::Kind::kFailed, "no thread to be had for the engine"});
  if (result_.ended_by != flow::Trouble::kNone && result_.ended_by != flow::Trouble::kCancelled)
    return std::unexpected(
        Error{Error::Kind::kFailed, report::WordsOf(result_.ended_by, result_.ended_detail)});
  return library::ResultOf(result_, job_);
}

}  // namespace

std::expected<std::unique_ptr<Engine>, Error> Engine::Open(const Options& options) {
  auto engine = std::make_unique<HostedEngine>();
  if (const auto started = engine->Start(options); !started.has_value())
    return std::unexpected(started.error());
  return engine;
}

}  // namespace drover
