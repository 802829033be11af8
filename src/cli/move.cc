// drover move: moves the memory of processes.
#include "cli/move.h"

#include <fmt/format.h>
#include <signal.h>

#include <chrono>

#include "cli/command.h"
#include "cli/detached.h"
#include "cli/free_cpu.h"
#include "cli/members.h"
#include "cli/move_shown.h"
#include "report/progress.h"

namespace drover::cli {
namespace {

using Clock = std::chrono::steady_clock;

control::Steering steering;

// The first Ctrl-C stops at a batch boundary; the second ends drover, and the agent stops by
// itself.
void StopOnInterrupt() {
  struct sigaction action{};
  action.sa_handler = [](int) { steering.cancel.store(true); };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// The processes of one command, one after another: so one budget, rate and time are for all.
class MoveJob {
 public:
  MoveJob(const MoveOptions& options, const topology::Nodes& nodes, Members& members,
          jobs::Desk& desk)
      : options_(options), nodes_(nodes), members_(members), desk_(desk) {}

  std::vector<Row> Run();
  // Behind it: some had no turn, because the job was cancelled.
  bool cut_short() const { return cut_short_; }

 private:
  // Those that come while others are moved have their turn, too; but not for ever.
  static constexpr int kLooksMax = 8;

  std::expected<Moved, Error> MoveOne(const control::ProcessInfo& process);

  const MoveOptions& options_;
  const topology::Nodes& nodes_;
  Members& members_;
  jobs::Desk& desk_;
  const Clock::time_point begin_ = Clock::now();
  report::ProgressLine line_;
  bool cut_short_ = false;
};

std::expected<Moved, Error> MoveJob::MoveOne(const control::ProcessInfo& process) {
  auto job = JobOf(options_, process.pid, nodes_);
  if (!job.has_value()) return std::unexpected(job.error());
  if (job->time_ns > 0) {  // what is left of it for this one
    const auto gone_ns =
        static_cast<uint64_t>((Clock::now() - begin_) / std::chrono::nanoseconds(1));
    job->time_ns = job->time_ns > gone_ns ? job->time_ns - gone_ns : 1;
  }
  desk_.Update([&](jobs::Status& status) {
    status.pid = process.pid;
    status.name = process.name;
    status.pages_done = status.pages_estimated = 0;
  });
  auto moved =
      MoveProcess(process, *job, options_, nodes_, steering, [&](const control::Progress& now) {
        line_.Show(now.pages_done, now.pages_estimated);
        desk_.Update([&](jobs::Status& status) {
          status.pages_done = now.pages_done;
          status.pages_estimated = now.pages_estimated;
        });
      });
  desk_.Update([&](jobs::Status& status) {
    status.pid = 0;
    ++status.processes_done;
    if (moved.has_value()) status.pages_moved += moved->result.pages_moved;
  });
  return moved;
}

std::vector<Row> MoveJob::Run() {
  std::vector<Row> rows;
  for (int look = 0; look < kLooksMax && !steering.cancel.load(); ++look) {
    const std::vector<control::ProcessInfo> fresh = members_.Fresh();
    if (fresh.empty()) break;
    desk_.Update([&](jobs::Status& status) { status.processes += static_cast<int>(fresh.size()); });
    for (const control::ProcessInfo& process : fresh) {
      control::StandWhilePaused(steering);
      cut_short_ = steering.cancel.load();
      if (cut_short_) break;
      rows.push_back({process, MoveOne(process), members_.IsNamed(process.pid)});
    }
    if (options_.dry_run) break;
  }
  return rows;
}

// A budget is for windows in which the engine has its CPU; the others are as long as it lacks it.
void WarnOfLostCpu(const flow::Job& job) {
  if (job.max_stall_ns == 0) return;
  constexpr std::chrono::milliseconds kLook{20};
  const LostCpu lost = WatchCpu(kLook);
  if (lost.longest_us * 1e3 < static_cast<double>(job.max_stall_ns)) return;
  fmt::print(stderr,
             "drover: no CPU is free for the engine: in {} ms it lost its own {} times, for up to "
             "{:.0f} us. A window that this meets is as long, and counted as preempted; only the "
             "others keep --max-stall {:.0f}us\n",
             kLook.count(), lost.times, lost.longest_us,
             static_cast<double>(job.max_stall_ns) / 1e3);
}

int Work(const MoveOptions& options, const flow::Job& job, const topology::Nodes& nodes,
         Members& members, jobs::Desk& desk) {
  if (!options.dry_run) WarnOfLostCpu(job);
  std::vector<Row> rows;
  bool cut_short = false;
  {  // (The line of progress goes with it.)
    MoveJob moves(options, nodes, members, desk);
    rows = moves.Run();
    cut_short = moves.cut_short();
  }
  if (options.for_one() && rows.size() == 1) return ShowOne(options, rows[0]);
  return ShowSeveral(options, rows, cut_short);
}

}  // namespace

int Move(const MoveOptions& options) {
  // From the first moment on: on a busy machine a look at a large process takes its time, too.
  StopOnInterrupt();
  const auto nodes = topology::ReadNodes("/");
  // What is wrong with the words is said before anything else.
  auto members = Members::Of(options.pids, options.tree, options.cgroup);
  const auto job = JobOf(options, members.has_value() ? members->first() : 0, nodes);
  if (!job.has_value()) return Fail(job.error());
  if (!members.has_value()) return Fail(members.error());
  if (options.detach)
    return RunDetached(options.json, steering, [&](jobs::Desk& desk) {
      return Work(options, *job, nodes, *members, desk);
    });
  jobs::Desk desk(steering, false);
  return Work(options, *job, nodes, *members, desk);
}

void AddMove(CLI::App& app, Chosen& chosen) {
  auto* move = app.add_subcommand("move", "move the memory of processes while they run");
  auto options = std::make_shared<MoveOptions>();
  AddMoveOptions(*move, *options);
  move->footer(
      "Without --range a process's private memory is moved: heap, stacks, anonymous mappings,\n"
      "and what it has written of private file mappings; with --shared all else as well.\n"
      "Several processes are moved one after another, and reported together. `drover jobs`,\n"
      "`pause`, `resume` and `cancel` see to a move from another shell.\n"
      "Example: drover move 4711 --to 1");
  move->callback([=, &chosen] {
    if (options->pids.empty() && options->tree == 0 && options->cgroup.empty())
      throw CLI::RequiredError("PID, --tree or --cgroup");
    CheckHow(*move, *options);
    if (!options->range.empty() && !options->for_one())
      throw CLI::ValidationError("--range", "addresses are one process's; name that one alone");
    chosen.run = [=] { return Move(*options); };
  });
}

}  // namespace drover::cli
