#include "copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>

#include "floor.h"
#include "library/await_release.h"
#include "library/workbench.h"
#include "measure.h"
#include "topology/helpers.h"

namespace drover::bench {
namespace {

using library::Workbench;
using migrators::Answer;
using migrators::Folio;

constexpr size_t kResidentBytes = 1u << 20;
// Beside other programs: many of a scheduler's turns.
constexpr double kRoundSecondsLeast = 0.1;
constexpr int kSweeps = 9;
constexpr std::chrono::seconds kPatience(10);

// One engine, and what it has been seen to do in this case. It is there only while it has its turn:
// the threads of another one would take the CPUs from it.
struct Side {
  std::string words;
  std::unique_ptr<Workbench> bench = {};
  unsigned threads = 1;
  bool hardware = false;
  std::vector<double> gb_per_s = {}, cpu_s_per_gb = {}, slowdown = {};
  uint64_t copied = 0, left = 0;
  std::string refused = {};
};

class Case {
 public:
  Case(const Buffers& buffers, size_t folio_bytes, size_t batch)
      : buffers_(buffers), folio_bytes_(folio_bytes), batch_(batch), folios_(batch) {}

  bool Fits() const { return batch_ * folio_bytes_ <= buffers_.source_bytes; }
  // Passes over the buffers, batch by batch.
  void Round(Side& side);
  // How a resident working set fares behind a batch.
  void Pollute(Side& side);
  bool IsRight() const {
    return std::memcmp(buffers_.source, buffers_.target, Batches() * batch_ * folio_bytes_) == 0;
  }

 private:
  size_t Batches() const { return buffers_.source_bytes / (batch_ * folio_bytes_); }
  void Lay(size_t nth);
  bool CopyOne(Side& side);

  const Buffers& buffers_;
  const size_t folio_bytes_, batch_;
  std::vector<Folio> folios_;
  std::vector<char> resident_ = std::vector<char>(kResidentBytes, 1);
};

void Case::Lay(size_t nth) {
  for (size_t i = 0; i < batch_; ++i) {
    const size_t at = (nth * batch_ + i) * folio_bytes_;
    folios_[i] = {reinterpret_cast<uint64_t>(buffers_.source) + at,
                  reinterpret_cast<uint64_t>(buffers_.target) + at, folio_bytes_, false};
  }
}

// What the engine refuses or leaves is copied by the CPU, as a migration does it.
bool Case::CopyOne(Side& side) {
  const migrators::CopyFunction copy = side.bench->copy().For(migrators::BytesOf(folios_));
  migrators::Migrator& engine = side.bench->engine();
  const Answer answer = engine.Submit(folios_);
  if (answer == Answer::kUnsupported) {
    side.refused = "more than this engine takes at once";
    return false;
  }
  if (answer == Answer::kTaken) {
    while (!engine.Poll(~uint64_t{0})) {
    }
    // A helper that lost its CPU may still read the list, which the next batch overwrites.
    if (!library::AwaitRelease(engine, kPatience)) {
      side.refused = "addresses are held for seconds";
      return false;
    }
  }
  for (Folio& folio : folios_) {
    if (!folio.copied) copy(folio.target, folio.source, folio.length_bytes);
    ++(folio.copied ? side.copied : side.left);
  }
  return true;
}

void Case::Round(Side& side) {
  const double cpu = CpuSeconds(), begin = Now();
  double seconds = 0, gb = 0;
  while (seconds < kRoundSecondsLeast) {
    for (size_t nth = 0; nth < Batches(); ++nth) {
      Lay(nth);
      if (!CopyOne(side)) return;
    }
    gb += static_cast<double>(Batches() * batch_ * folio_bytes_) / 1e9;
    seconds = Now() - begin;
  }
  side.gb_per_s.push_back(gb / seconds);
  side.cpu_s_per_gb.push_back((CpuSeconds() - cpu) / gb);
}

void Case::Pollute(Side& side) {
  const auto sweep = [&] {
    const double begin = Now();
    uint64_t sum = 0;
    for (size_t i = 0; i < resident_.size(); i += 64)
      sum += static_cast<unsigned char>(resident_[i]);
    asm volatile("" : : "r"(sum));
    return Now() - begin;
  };
  std::vector<double> warm, behind;
  for (int i = 0; i < kSweeps; ++i) {
    (void)sweep();
    warm.push_back(sweep());
    Lay(static_cast<size_t>(i) % Batches());
    if (!CopyOne(side)) return;
    behind.push_back(sweep());
  }
  side.slowdown.push_back(Median(behind) / Median(warm));
}

CopyRow RowOf(const Side& side, const std::string& page, size_t batch) {
  const auto [least, most] = std::minmax_element(side.gb_per_s.begin(), side.gb_per_s.end());
  return {.migrator = side.words,
          .page = page,
          .batch = batch,
          .threads = side.threads,
          .rounds = static_cast<int>(side.gb_per_s.size()),
          .gb_per_s = Median(side.gb_per_s),
          .gb_per_s_min = *least,
          .gb_per_s_max = *most,
          .cpu_s_per_gb = Median(side.cpu_s_per_gb),
          .cache_slowdown = Median(side.slowdown),
          .copied_share = static_cast<double>(side.copied) /
                          static_cast<double>(std::max<uint64_t>(1, side.copied + side.left)),
          .hardware = side.hardware};
}

Workbench::Terms TermsOf(const CopyOptions& options) {
  return {options.nodes.source, options.nodes.target, options.copy_ways};
}

std::expected<void, Error> OpenBench(Side& side, const CopyOptions& options) {
  auto bench = Workbench::Make(side.words, TermsOf(options));
  if (!bench.has_value()) return std::unexpected(bench.error());
  side.bench = std::move(*bench);
  // Those with helpers have slept while they looked for idle CPUs; a scheduler remembers that.
  if (migrators::HelpersOf(side.bench->spec()) == 0)
    std::this_thread::sleep_for(std::chrono::milliseconds(topology::kIdleSampleMs));
  side.threads = side.bench->threads();
  side.hardware = side.bench->hardware();
  return {};
}

// All engines at one page size and batch. The engine's copies are looked at behind each round.
std::expected<void, Error> RunCase(std::vector<Side>& sides, const Buffers& buffers,
                                   const CopyOptions& options, const std::string& page,
                                   size_t batch, CopyReport* report) {
  const size_t folio_bytes = page == "2M" ? kHugeBytes : kPageBytes;
  Case one(buffers, folio_bytes, batch);
  const std::string name = fmt::format("{} x {}", batch, page);
  if (!one.Fits()) {
    report->skipped.push_back(
        {name, fmt::format("does not fit into {} MiB", buffers.source_bytes >> 20)});
    return {};
  }
  for (Side& side : sides) {
    side.gb_per_s.clear(), side.cpu_s_per_gb.clear(), side.slowdown.clear(), side.refused.clear();
    side.copied = side.left = 0;
  }
  for (int round = 0; round < options.rounds; ++round)
    for (Side& side : sides) {
      if (!side.refused.empty()) continue;
      if (const auto opened = OpenBench(side, options); !opened.has_value())
        return std::unexpected(opened.error());
      std::memset(buffers.target, round + 1, buffers.target_bytes);
      one.Round(side);
      if (side.refused.empty() && !one.IsRight())
        return std::unexpected(
            Error{Error::Kind::kFailed,
                  fmt::format("{}: {} did not copy what it said", name, side.words)});
      if (side.refused.empty()) one.Pollute(side);
      side.bench.reset();
    }
  for (const Side& side : sides) {
    if (side.refused.empty())
      report->rows.push_back(RowOf(side, page, batch));
    else
      report->skipped.push_back({side.words + ", " + name, side.refused});
  }
  return {};
}

}  // namespace

std::expected<Buffers, Error> FilledBuffers(size_t bytes, bool huge, const BufferNodes& nodes) {
  const Buffers buffers = MapBuffers(bytes, bytes, huge, nodes);
  if (buffers.source == nullptr || buffers.target == nullptr)
    return std::unexpected(Error{Error::Kind::kFailed, "no memory for the buffers"});
  std::memset(buffers.target, 1, buffers.target_bytes);
  if (LieOn(buffers, nodes)) return buffers;
  UnmapBuffers(buffers);
  return std::unexpected(
      Error{Error::Kind::kUnavailable, fmt::format("node {} or {} has no {} MiB free: free some, "
                                                   "name others, or give `tune` a smaller --buffer",
                                                   nodes.source, nodes.target, bytes >> 20)});
}

std::expected<CopyReport, Error> RunCopy(const CopyOptions& options) {
  std::vector<Side> sides;
  for (const std::string& words : options.migrators) {
    auto bench = Workbench::Make(words, TermsOf(options));
    if (!bench.has_value()) return std::unexpected(bench.error());
    if (migrators::MayLie((*bench)->spec()))
      return std::unexpected(
          Error{Error::Kind::kUsage,
                fmt::format("'{}' does not copy: there is nothing to measure", words)});
    sides.push_back({.words = words});
  }
  CopyReport report;
  for (const std::string& page : options.pages) {
    const auto buffers = FilledBuffers(options.buffer_bytes, page == "2M", options.nodes);
    if (!buffers.has_value()) return std::unexpected(buffers.error());
    for (const size_t batch : options.batches)
      if (const auto run = RunCase(sides, *buffers, options, page, batch, &report);
          !run.has_value()) {
        UnmapBuffers(*buffers);
        return std::unexpected(run.error());
      }
    UnmapBuffers(*buffers);
  }
  if (report.rows.empty())
    return std::unexpected(Error{Error::Kind::kFailed, "no row could be measured"});
  return report;
}

}  // namespace drover::bench
