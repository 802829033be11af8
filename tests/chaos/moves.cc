#include "chaos/moves.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "chaos/debugger.h"
#include "chaos/slice.h"
#include "control/client.h"
#include "topology/nodes.h"

namespace drover::chaos {
namespace {

// A job that begins with a pause, and goes on after a while.
class Pause {
 public:
  Pause(control::Steering& steering, std::chrono::milliseconds length) : steering_(steering) {
    steering_.paused = true;
    thread_ = std::jthread([this, length](const std::stop_token& stop) {
      while (!stop.stop_requested() && !steering_.stands.load())
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      stood_ = steering_.stands.load();
      std::this_thread::sleep_for(length);
      steering_.paused = false;
    });
  }
  // Behind the job. Did it stand?
  bool End() {
    thread_.request_stop();
    thread_.join();
    return stood_;
  }

 private:
  control::Steering& steering_;
  bool stood_ = false;
  std::jthread thread_;
};

// Mostly one that does its work: the storm is to meet many windows. Lies are for jobs that look at
// each copy.
void DrawEngines(Random& random, flow::Job* job) {
  using migrators::Fault;
  using migrators::Kind;
  job->reason = static_cast<flow::Reason>(random.Below(flow::kReasonCount));
  if (!random.OneIn(4)) return;
  constexpr migrators::Spec kEngines[] = {{.kind = Kind::kThreads, .count = 2},
                                          {.kind = Kind::kThreads, .count = 3},
                                          {.kind = Kind::kChannels, .count = 1},
                                          {.kind = Kind::kChannels, .count = 2},
                                          {.kind = Kind::kChannels, .count = 4}};
  job->engines[0] = kEngines[random.Below(std::size(kEngines))];
  if (random.OneIn(4)) job->engines[job->engine_count++] = {.kind = Kind::kSerial};
  if (!random.OneIn(3)) return;
  const auto fault = static_cast<Fault>(random.Below(migrators::kFaultCount));
  // A late engine keeps its window open for as long as it is waited for.
  if ((fault == Fault::kLate || fault == Fault::kHang) && !random.OneIn(8)) return;
  if (Lies(fault)) job->verify = true;
  migrators::Spec& last = job->engines[job->engine_count - 1];
  last = {.kind = Kind::kFault, .count = last.count, .fault = fault, .over = last.kind};
}

flow::Job Draw(Random& random, uint32_t node_count, uint64_t threads) {
  constexpr uint64_t kBatches[] = {4 << 10, 64 << 10, 256 << 10, 2 << 20, 8 << 20};
  flow::Job job;
  job.placement.node_count = node_count;
  job.placement.same = node_count < 2 || random.OneIn(4);
  const auto target = static_cast<int16_t>(random.Below(node_count));
  for (int16_t& each : job.placement.target_of) each = target;
  job.batch_bytes = kBatches[random.Below(std::size(kBatches))];
  job.mode = static_cast<flow::Mode>(random.Below(3));
  job.retry_for_ns = random.OneIn(4) ? 10'000'000 : 0;
  job.unshare = random.OneIn(4);
  job.verify = random.OneIn(16);
  if (random.OneIn(3)) {
    constexpr uint64_t kBudgetsNs[] = {20'000, 100'000, 500'000, 2'000'000};
    job.max_stall_ns = kBudgetsNs[random.Below(std::size(kBudgetsNs))];
    job.over_budget = random.OneIn(2);
  }
  job.copy_through = static_cast<flow::CopyThrough>(random.Below(5));
  job.precopy = static_cast<flow::Precopy>(random.Below(3));
  if (random.OneIn(8)) job.page_size = static_cast<flow::PageSize>(1 + random.Below(2));
  // Mostly a part of one slice, as large as some dozen batches; now and then the whole process.
  const uint64_t slice = random.Below(threads);
  if (job.batch_bytes < (256 << 10) || !random.OneIn(8)) {
    const uint64_t unit = SliceIsHuge(slice) ? 512 : 1;  // a range must not cut huge pages
    uint64_t pages = std::min(32 * job.batch_bytes / kPage, kSlicePages);
    pages = std::max(pages / unit * unit, unit);
    const uint64_t first = random.Below((kSlicePages - pages) / unit + 1) * unit;
    job.range_count = 1;
    job.ranges[0] = {SliceStart(slice) + first * kPage, pages * kPage};
  }
  DrawEngines(random, &job);
  return job;
}

}  // namespace

Moves::Moves(int pid, uint64_t seed, uint64_t threads, std::string drover)
    : pid_(pid),
      random_(seed),
      threads_(threads),
      drover_(std::move(drover)),
      node_count_(topology::ReadNodes("/").id_limit()),
      thread_([this] { Run(); }) {}

const MovesTally& Moves::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return tally_;
}

void Moves::Run() {
  while (!stop_) {
    if (random_.OneIn(16)) {
      RunAndEnd();
    } else if (random_.OneIn(16)) {
      Disturb();
    } else if (!RunJob()) {
      return;
    }
  }
}

// By a plugin, alone or before another one; now and then it is taken out, and comes back.
void Moves::DrawPlugin(const control::Marker& marker, control::Client& client, flow::Job* job) {
  using Action = control::MigratorsRequest::Action;
  control::MigratorsRequest request;
  request.action = random_.OneIn(4) ? Action::kUnregister : Action::kRegister;
  request.name = marker.plugins[0];
  (void)client.Migrators(request);
  job->plugins[0] = marker.plugins[0];
  job->engine_count = 1 + static_cast<uint32_t>(random_.Below(2));
  job->engines[0] = {.kind = migrators::Kind::kFirstPlugin};
  job->engines[1] = {.kind = migrators::Kind::kThreads, .count = 2};
}

bool Moves::RunJob() {
  const auto process = control::CheckTarget(pid_);
  if (!process.has_value()) return false;
  const auto marker = control::FindServingMarker(*process);
  if (!marker.has_value() || !marker->has_value()) return false;
  auto client = control::Client::Connect({*process, **marker});
  if (!client.has_value()) return control::LookAgain(*process) == control::Still::kSame;
  flow::Job job = Draw(random_, node_count_, threads_);
  if (!(*marker)->plugins[0].view().empty() && random_.OneIn(8))
    DrawPlugin(**marker, *client, &job);
  helper_cpus_.Place(&job, pid_);
  // No CPU is idle in a storm. Helpers all the same, which then lose theirs again and again.
  for (const uint32_t wanted = random_.OneIn(2) ? migrators::HelpersOf(job.Engines()) : 0;
       job.helper_count < wanted;)
    job.helper_cpus[job.helper_count++] = -1;
  // A short job fills nothing ahead.
  if (job.helper_count > 0 && job.batch_bytes >= (256 << 10) && random_.OneIn(2))
    job.range_count = 0;
  // Looked at fifty times a second: seldom in time, which is a case as well.
  control::Steering steering;
  steering.cancel = random_.OneIn(8);
  std::optional<Pause> pause;
  if (random_.OneIn(8)) pause.emplace(steering, std::chrono::milliseconds(random_.Below(30)));
  const auto result = client->Move(job, -1, steering, [](const control::Progress&) {});
  if (pause.has_value()) tally_.paused += pause->End();
  if (!result.has_value()) {
    if (control::LookAgain(*process) != control::Still::kSame) return false;
    // The agent may still be ending the job of a command line that was killed.
    constexpr int kPatience = 200;
    if (++failures_ >= kPatience && tally_.failed.empty()) tally_.failed = result.error().message;
    usleep(5000);
    return true;
  }
  failures_ = 0;
  ++tally_.jobs;
  tally_.cancelled += result->ended_by == flow::Trouble::kCancelled;
  tally_.pages_moved += result->pages_moved;
  tally_.windows += result->windows.count;
  tally_.moves_denied += result->moves_denied;
  tally_.ladder_steps += result->ladder_steps;
  tally_.children_filled += result->children_filled;
  tally_.rounds += result->rounds;
  tally_.unshared += result->pages_unshared;
  tally_.gathered += result->pages_gathered;
  tally_.filled_ahead += result->pages_filled_ahead;
  tally_.precopied += result->pages_precopied;
  tally_.changed += result->pages_changed;
  for (const flow::EngineTally& engine : result->engines) {
    tally_.copies_failed += engine.failed + engine.refused;
    tally_.copies_late += engine.late;
  }
  tally_.copies_mended += result->copied_again;
  tally_.by_plugin += result->engines[static_cast<uint32_t>(migrators::Kind::kFirstPlugin)].pages;
  tally_.not_by_own_path += result->own_path_trouble != flow::Trouble::kNone;
  tally_.ledgers_wrong +=
      result->pages_requested != result->pages_moved + result->pages_already_there +
                                     result->pages_gone + result->pages_not_moved;
  return true;
}

void Moves::RunAndEnd() {
  const std::string pid = std::to_string(pid_);
  const int child = fork();
  if (child == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    execl(drover_.c_str(), "drover", "move", pid.c_str(), "--to", "same", nullptr);
    _exit(127);
  }
  usleep(static_cast<useconds_t>(random_.Below(30'000)));
  kill(child, random_.OneIn(2) ? SIGKILL : SIGINT);
  waitpid(child, nullptr, 0);
  ++tally_.cut_off;
}

// A debugger looks in for a moment; the own path stands back from it. In a process of its own: what
// stops for it must not be told to whoever waits for the storm's end.
void Moves::LetDebug() {
  const int debugger = fork();
  if (debugger == 0) {
    if (ptrace(PTRACE_SEIZE, pid_, nullptr, nullptr) != 0) _exit(0);
    usleep(2000);
    StopSeized(pid_);
    ptrace(PTRACE_DETACH, pid_, nullptr, nullptr);
    _exit(0);
  }
  RunJob();
  waitpid(debugger, nullptr, 0);
}

void Moves::Disturb() {
  ++tally_.disturbed;
  switch (random_.Below(3)) {
    case 0:
      kill(pid_, SIGSTOP);
      usleep(static_cast<useconds_t>(random_.Below(3000)));
      kill(pid_, SIGCONT);
      break;
    case 1:
      LetDebug();
      break;
    default: {  // somebody else's move of the same pages
      void* pages[64];
      int nodes[64] = {}, status[64];
      for (uint64_t i = 0; i < std::size(pages); ++i)
        pages[i] = reinterpret_cast<void*>(SliceStart(0) + i * kPage);
      syscall(SYS_move_pages, pid_, std::size(pages), pages, nodes, status, 0);
      break;
    }
  }
}

}  // namespace drover::chaos
