// Which copy function for which size.
#include <algorithm>
#include <cstring>

#include "measure.h"
#include "tune.h"

namespace drover::bench {
namespace {

using migrators::CopyWay;

// Of the fastest, over one buffer: within this the pages decide.
constexpr double kAsGood = 0.98;
// What ordinary stores have to bring: they cost the application its cache lines.
constexpr double kPays = 1.05;
// Of a pass that tries one size of batch.
constexpr size_t kPassBytes = 64u << 20;

struct WaySide {
  CopyWay way;
  std::vector<double> whole, pages;
};

double Pass(const Buffers& buffers, CopyWay way, size_t piece_bytes) {
  const migrators::CopyFunction copy = migrators::FunctionOf(way);
  const auto source = reinterpret_cast<uint64_t>(buffers.source);
  const auto target = reinterpret_cast<uint64_t>(buffers.target);
  const double begin = Now();
  for (size_t at = 0; at < buffers.source_bytes; at += piece_bytes)
    copy(target + at, source + at, piece_bytes);
  return static_cast<double>(buffers.source_bytes) / 1e9 / (Now() - begin);
}

// Batch by batch, page by page. Each target is cleared first, as the kernel does it, and that
// counts: what ordinary stores save by finding it in the cache they may cost when it is written
// back, behind the copy.
double PassByBatch(const Buffers& buffers, CopyWay way, size_t batch_bytes) {
  const migrators::CopyFunction copy = migrators::FunctionOf(way);
  const size_t bytes = std::min(kPassBytes, buffers.source_bytes) / batch_bytes * batch_bytes;
  const double begin = Now();
  for (size_t at = 0; at < bytes; at += batch_bytes) {
    std::memset(buffers.target + at, 0, batch_bytes);
    const auto source = reinterpret_cast<uint64_t>(buffers.source + at);
    const auto target = reinterpret_cast<uint64_t>(buffers.target + at);
    for (size_t page = 0; page < batch_bytes; page += kPageBytes)
      copy(target + page, source + page, kPageBytes);
  }
  return static_cast<double>(bytes) / 1e9 / (Now() - begin);
}

bool IsStream(CopyWay way) {
  return way <= CopyWay::kStream512;
}

// libc's is for comparison: no agent has it.
bool IsCandidate(const WayRow& row) {
  return row.way != CopyWay::kMemcpy;
}

CopyWay FastestOverOneBuffer(const std::vector<WayRow>& rows) {
  double most = 0;
  for (const WayRow& row : rows)
    if (IsCandidate(row)) most = std::max(most, row.gb_per_s);
  const WayRow* best = nullptr;
  for (const WayRow& row : rows)
    if (IsCandidate(row) && row.gb_per_s >= kAsGood * most &&
        (best == nullptr || row.pages_gb_per_s > best->pages_gb_per_s))
      best = &row;
  return best->way;
}

CopyWay FastestOrdinary(const std::vector<WayRow>& rows) {
  const WayRow* best = nullptr;
  for (const WayRow& row : rows)
    if (IsCandidate(row) && !IsStream(row.way) &&
        (best == nullptr || row.pages_gb_per_s > best->pages_gb_per_s))
      best = &row;
  return best->way;
}

// The smallest from which on ordinary stores bring nothing, for all larger ones.
uint64_t LargeFrom(const std::vector<library::Profile::Batch>& batches) {
  uint64_t from = ~uint64_t{0};
  for (auto batch = batches.rbegin(); batch != batches.rend(); ++batch) {
    if (batch->small >= kPays * batch->large) break;
    from = batch + 1 == batches.rend() ? 0 : batch->bytes;
  }
  return from;
}

}  // namespace

std::vector<WayRow> MeasureCopyWays(const Buffers& buffers, int rounds) {
  std::vector<WaySide> sides;
  for (uint32_t i = 0; i < migrators::kCopyWayCount; ++i)
    if (const auto way = static_cast<CopyWay>(i); migrators::IsSupported(way))
      sides.push_back({way, {}, {}});
  for (const WaySide& side : sides) (void)Pass(buffers, side.way, kHugeBytes);  // clocks
  for (int round = 0; round < rounds; ++round)
    for (WaySide& side : sides) {
      side.whole.push_back(Pass(buffers, side.way, buffers.source_bytes));
      side.pages.push_back(Pass(buffers, side.way, kPageBytes));
    }
  std::vector<WayRow> rows;
  for (const WaySide& side : sides) {
    const auto [least, most] = std::minmax_element(side.whole.begin(), side.whole.end());
    rows.push_back({side.way, Median(side.whole), *least, *most, Median(side.pages)});
  }
  return rows;
}

void ChooseCopyWays(const std::vector<WayRow>& rows, const Buffers& buffers,
                    const TuneOptions& options, library::Profile::Pair* pair) {
  for (const WayRow& row : rows) pair->measured_ways.push_back({row.way, row.gb_per_s});
  migrators::CopyWays& ways = pair->copy_ways;
  ways.large = FastestOverOneBuffer(rows);
  ways.small = IsStream(ways.large) ? FastestOrdinary(rows) : ways.large;
  const size_t most = std::min(options.largest_bytes, buffers.source_bytes);
  for (size_t bytes = kPageBytes; bytes <= most; bytes *= 2) {
    std::vector<double> small, large;
    for (int round = 0; round < options.rounds; ++round) {
      small.push_back(PassByBatch(buffers, ways.small, bytes));
      large.push_back(PassByBatch(buffers, ways.large, bytes));
    }
    pair->batches.push_back(
        {.bytes = bytes, .small = Median(small), .large = Median(large), .engines = {}});
  }
  ways.large_from_bytes = LargeFrom(pair->batches);
}

}  // namespace drover::bench
