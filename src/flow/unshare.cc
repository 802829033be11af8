// --unshare: pages that are shared after a fork get copies of their own, as a write of the program
// would make them; by a write fault, before any window.
#include "flow/piece.h"

namespace drover::flow {

using kernel::Errno;

void PieceMover::Unshare(int16_t target) {
  kernel::PageEntry* entries = engine_.entries;
  if (engine_.kernel.ReadEntries(piece.range.start, {entries, pages()}) != Errno::kOk) return;
  const uint64_t step = piece.huge ? kPagesPerHuge : 1;
  const auto shared = [&](uint64_t i) {
    return piece.target[i] == target && entries[i].present() && !entries[i].exclusive() &&
           MayBeUnshared(piece.range.start + i * kPageBytes);
  };
  uint64_t count = 0, first = 0;
  for (uint64_t i = 0; i < pages(); i += step) {
    if (!shared(i)) continue;
    if (count == 0) first = i;
    count += step;
  }
  const bool room = count > 0 && HasRoomFor(count * kPageBytes, first, target);
  for (uint64_t at = 0; at < pages();) {
    uint64_t end = at;
    while (end < pages() && shared(end)) end += step;
    for (uint64_t i = at; i < end && !room; ++i)
      state_[i] = PageState::kRefused, why_[i] = Why::kNoTargetMemory;
    if (end > at && room) UnshareRun(at, end, target);
    at = end > at ? end : at + step;
  }
}

// What is not the program's data, or is about to go, keeps its page.
bool PieceMover::MayBeUnshared(uint64_t address) const {
  return !engine_.control_blocks.Holds(address) && !engine_.marks.Has(address);
}

// Pages [first, end) are shared, and in engine_.entries.
void PieceMover::UnshareRun(uint64_t first, uint64_t end, int16_t target) {
  const Range run{piece.range.start + first * kPageBytes, (end - first) * kPageBytes};
  // Where it fails, because a part is not mapped any more, say, the page table tells what came.
  (void)engine_.kernel.Advise(run, kernel::Advice::kPopulateWrite);
  // The kernel splits a huge page for it: unless that was the move, another round takes its parts.
  if (piece.huge)
    for (uint64_t i = first; i < end; ++i) why_[i] = Why::kUnstable;
  BookCopies(first, end, target);
}

// The copies come where the memory's policy says. Where it binds them to a node that is full the
// kernel kills, so there must be room where the pages are as well as where they are to come.
bool PieceMover::HasRoomFor(uint64_t bytes, uint64_t first, int16_t target) {
  kernel::Kernel& kernel = engine_.kernel;
  if (!engine_.headroom.Grants(kernel, Node{target >= 0 ? target : -1}, bytes)) return false;
  if (engine_.job->placement.node_count <= 1) return true;
  const uint64_t address = piece.range.start + first * kPageBytes;
  int32_t node = -1;
  const bool known = kernel.QueryNodes({&address, 1}, {&node, 1}) == Errno::kOk && node >= 0;
  return known && engine_.headroom.Grants(kernel, Node{node}, bytes);
}

// A copy that is where the job wants it was the move. (Where the last one who shared it is gone in
// between, the page stays, and is moved as any other; nor does everybody see page frames.)
void PieceMover::BookCopies(uint64_t first, uint64_t end, int16_t target) {
  kernel::Kernel& kernel = engine_.kernel;
  const bool one_node = engine_.job->placement.node_count <= 1;
  const uint64_t count = end - first, start = piece.range.start + first * kPageBytes;
  for (uint64_t i = 0; i < count; ++i) engine_.addresses[i] = start + i * kPageBytes;
  if (kernel.ReadEntries(start, {copies_, count}) != Errno::kOk) return;
  if (!one_node &&
      kernel.QueryNodes({engine_.addresses, count}, {engine_.nodes, count}) != Errno::kOk)
    return;
  for (uint64_t i = 0; i < count; ++i) {
    const kernel::PageEntry before = engine_.entries[first + i], now = copies_[i];
    if (!now.present() || !now.exclusive()) continue;
    if (now.frame() == 0) ++engine_.result->pages_unshared;  // as far as can be seen
    if (now.frame() == 0 || now.frame() == before.frame()) continue;
    ++engine_.result->pages_unshared;
    if (!one_node && engine_.nodes[i] != target) continue;
    state_[first + i] = PageState::kRemapped;
    why_[first + i] = Why::kNone;
  }
}

}  // namespace drover::flow
