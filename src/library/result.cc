#include "library/result.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "report/pages.h"
#include "report/words.h"

namespace drover::library {
namespace {

Percentiles PercentilesOf(const flow::Histogram& histogram) {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1000; };
  return {histogram.count,
          us(histogram.PerMille(500)),
          us(histogram.PerMille(990)),
          us(histogram.PerMille(999)),
          us(histogram.max_ns),
          us(histogram.total_ns)};
}

Verified VerifiedOf(const flow::JobResult& job) {
  const auto count = [&](flow::LateFate fate) {
    return job.late_writes[static_cast<uint32_t>(fate)];
  };
  Verified verified{.pages_compared = job.pages_compared,
                    .copied_again = job.copied_again,
                    .carried_over = count(flow::LateFate::kCarriedOver),
                    .conflicts = count(flow::LateFate::kConflict),
                    .gone = count(flow::LateFate::kGone),
                    .late_writes = {}};
  // (The count is another process's word.)
  for (uint32_t i = 0; i < std::min(job.late_named, flow::kLateWritesNamed); ++i)
    verified.late_writes.push_back(
        {job.late[i].address, job.late[i].bytes, static_cast<LateWrite::Fate>(job.late[i].fate)});
  return verified;
}

}  // namespace

MoveResult ResultOf(const flow::JobResult& job, bool verify) {
  MoveResult result;
  result.pages_requested = job.pages_requested;
  result.pages_moved = job.pages_moved;
  result.pages_already_there = job.pages_already_there;
  result.pages_gone = job.pages_gone;
  result.pages_not_moved = job.pages_not_moved;
  result.pages_by_own_path = job.moved_own_path;
  result.pages_by_kernel_path = job.moved_kernel_path;
  result.pages_unshared = job.pages_unshared;
  result.retry_rounds = job.rounds;
  result.copy_threads = job.copy_threads;
  result.late_chunks = job.late_chunks;
  result.seconds = static_cast<double>(job.wall_ns) / 1e9;
  MoveResult::Phases& phases = result.phases_s;
  double* const seconds[] = {&phases.collect, &phases.prepare, &phases.isolate, &phases.copy,
                             &phases.remap,   &phases.release, &phases.kernel,  &phases.verify};
  static_assert(sizeof seconds / sizeof seconds[0] == flow::kPhaseCount);
  for (uint32_t i = 0; i < flow::kPhaseCount; ++i)
    *seconds[i] = static_cast<double>(job.phase_ns[i]) / 1e9;
  result.stall = PercentilesOf(job.stalls);
  result.window = PercentilesOf(job.windows);
  result.windows_preempted = job.windows_preempted;
  result.windows_guarded = job.windows_guarded;
  result.not_moved = report::CausesOf(job.not_moved_why);
  result.own_path_refused = report::WordsOf(job.own_path_trouble, job.own_path_detail);
  if (verify) result.verified = VerifiedOf(job);
  result.cancelled = job.ended_by == flow::Trouble::kCancelled;
  return result;
}

std::expected<void, Error> ParseMigrator(const std::string& name, flow::Job* job) {
  if (name == "serial") {
    job->engine = flow::CopyEngine::kSerial;
    job->copy_threads = 1;
    return {};
  }
  constexpr std::string_view kThreads = "threads:";
  if (name.starts_with(kThreads)) {
    uint32_t count = 0;
    const char* begin = name.data() + kThreads.size();
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(begin, end, count);
    if (parsed.ec == std::errc() && parsed.ptr == end && count >= 1 &&
        count <= flow::kCopyThreadsMax) {
      job->engine = flow::CopyEngine::kThreads;
      job->copy_threads = count;
      return {};
    }
  }
  return std::unexpected(
      Error{Error::Kind::kUsage,
            fmt::format("'{}' is no migrator; use serial, or threads:N with N from 1 to {}", name,
                        flow::kCopyThreadsMax)});
}

std::expected<void, Error> SetRetryFor(double seconds, flow::Job* job) {
  constexpr double kSecondsMax = static_cast<double>(flow::kRetryForNsMax) / 1e9;
  if (!(seconds >= 0 && seconds <= kSecondsMax))
    return std::unexpected(Error{
        Error::Kind::kUsage,
        fmt::format("retrying for {} s is not possible; use 0 to {} s", seconds, kSecondsMax)});
  job->retry_for_ns = static_cast<uint64_t>(seconds * 1e9);
  return {};
}

std::expected<void, Error> CheckBatch(uint64_t batch_bytes) {
  if (batch_bytes >= kPageBytes && batch_bytes <= flow::kBatchBytesMax &&
      batch_bytes % kPageBytes == 0)
    return {};
  return std::unexpected(
      Error{Error::Kind::kUsage, fmt::format("a batch of {} bytes is not possible; use a multiple "
                                             "of 4096 from 4096 (one page) to 16777216 (16 MiB)",
                                             batch_bytes)});
}

}  // namespace drover::library
