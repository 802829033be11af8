#include "cli/process_move.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "cli/exit_codes.h"
#include "cli/kernel_mover.h"
#include "cli/records.h"
#include "cli/shared_part.h"
#include "cli/target_checks.h"
#include "cli/warnings.h"
#include "cli/witness.h"
#include "control/client.h"
#include "library/helper_cpus.h"
#include "report/pages.h"
#include "report/words.h"

namespace drover::cli {
namespace {

// By the agent where there is one that serves, else from outside.
std::expected<flow::JobResult, Error> Perform(const control::ProcessInfo& process,
                                              const flow::Job& job, int records,
                                              control::Steering& steering,
                                              const ShowProgress& progress) {
  flow::JobResult preset;
  const auto marker = control::FindServingMarker(process);
  if (!marker.has_value()) return std::unexpected(marker.error());
  preset.own_path_trouble = flow::Trouble::kNoAgent;
  if (marker->has_value()) {
    const auto state = static_cast<control::Marker::State>((*marker)->state);
    if (state == control::Marker::State::kServing) {
      auto client = control::Client::Connect({process, **marker});
      if (!client.has_value()) return std::unexpected(client.error());
      if (client->hello().has_userfault == 0 && client->hello().trouble == 0 && geteuid() == 0)
        client->GrantRights();
      return client->Move(job, records, steering, progress);
    }
    preset.own_path_trouble = state == control::Marker::State::kPassive
                                  ? static_cast<flow::Trouble>((*marker)->trouble)
                                  : flow::Trouble::kAgentEnded;
    preset.own_path_detail = (*marker)->trouble_detail;
  }
  if (job.unshare)  // no other process can make a page of its own for it
    return std::unexpected(
        Error{Error::Kind::kUnavailable,
              fmt::format("--unshare takes an agent in process {} that serves: {}", process.pid,
                          report::WordsOf(preset.own_path_trouble, preset.own_path_detail))});
  return MoveFromOutside(process, job, preset, records, steering, progress);
}

// With --shared in two halves.
std::expected<flow::JobResult, Error> PerformAll(const control::ProcessInfo& process,
                                                 const flow::Job& job, bool shared, int records,
                                                 control::Steering& steering,
                                                 const ShowProgress& progress) {
  flow::Job first = job;
  if (shared) first.mode = flow::Mode::kAsync;  // what is busy is asked for again by the second
  auto result = Perform(process, first, records, steering, progress);
  if (!result.has_value() || !shared) return result;
  flow::Job second = job;
  if (job.time_ns > 0)
    second.time_ns = job.time_ns > result->wall_ns ? job.time_ns - result->wall_ns : 1;
  return MoveShared(process, second, *result, records, steering, progress);
}

// A file of records that goes with the move.
class RecordFile {
 public:
  RecordFile() : file_(memfd_create("drover-records", MFD_CLOEXEC)) {}
  ~RecordFile() {
    if (file_ >= 0) close(file_);
  }
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;
  int get() const { return file_; }

 private:
  int file_;
};

void PlaceHelpers(int pid, flow::Job* job) {
  library::HelperCpus().Place(job, pid);
  const uint32_t wanted = migrators::HelpersOf(job->Engines());
  if (job->helper_count < wanted)
    fmt::print(stderr, "drover: {} of {} copy threads have a CPU: no more are idle\n",
               job->helper_count + 1, wanted + 1);
}

}  // namespace

std::expected<Moved, Error> MoveProcess(const control::ProcessInfo& process, const flow::Job& job,
                                        const MoveOptions& options, const topology::Nodes& nodes,
                                        control::Steering& steering, const ShowProgress& progress) {
  const int pid = process.pid;
  const flow::Job whole = Whole(job, options);
  if (const auto fits = CheckRangesAndMemory(pid, whole, nodes); !fits.has_value())
    return std::unexpected(fits.error());
  for (const std::string& warning : WarningsFor("/", pid, job.placement))
    fmt::print(stderr, "drover: {}\n", warning);
  Moved moved{.job = job, .result = {}, .seen = {}};
  if (!options.dry_run) PlaceHelpers(pid, &moved.job);
  const RecordFile records;
  const Witness witness(pid, whole, !options.dry_run);
  const auto result =
      PerformAll(process, moved.job, options.shared, records.get(), steering, progress);
  if (!result.has_value()) return std::unexpected(result.error());
  moved.result = *result;
  if (options.dry_run) return moved;
  if (options.unshare && result->own_path_trouble != flow::Trouble::kNone)
    fmt::print(stderr, "drover: --unshare goes with the own path alone, which was not taken\n");
  const Records fates(records.get(), pid, result->pages_requested);
  if (const uint64_t merged = CountMerged(pid, fates); merged > 0) {
    constexpr auto kShared = static_cast<size_t>(flow::Why::kShared);
    uint64_t* const why = moved.result.not_moved_why;
    why[kShared] -= std::min(merged, why[kShared]);
    why[static_cast<size_t>(flow::Why::kMerged)] += merged;
  }
  moved.seen = {witness.ShareSeenToMove(fates), CountMovedBack(pid, job.placement, fates)};
  return moved;
}

int ExitCodeOf(const flow::JobResult& result) {
  switch (result.ended_by) {
    case flow::Trouble::kNone:
      break;
    case flow::Trouble::kCancelled:
      return kExitInterrupted;
    case flow::Trouble::kTargetVanished:
      return kExitTargetGone;
    default:
      return kExitFailed;
  }
  return result.pages_not_moved > 0 ? kExitNotAllMoved : kExitDone;
}

bool WarnOfLostWrites(const MoveResult& shown) {
  if (!shown.verified.has_value() || shown.verified->conflicts + shown.verified->gone == 0)
    return false;
  fmt::print(stderr,
             "drover: a driver has written to {} after the copy, and the program has changed, "
             "freed or moved them since: what was written is lost. Find what writes there before "
             "this program is moved again\n",
             report::Pages(shown.verified->conflicts + shown.verified->gone));
  return true;
}

}  // namespace drover::cli
