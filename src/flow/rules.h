// The safety rules that can be taken out, one by one, in the `mutants` build, to prove that a test
// notices (tests/mutants/run has the test of each). In every other build they are constants and
// cost nothing. What an engine thread may touch in a window is proven when the core is linked: it
// has no undefined symbol.
#pragma once

#include <cstdint>

namespace drover::flow {

enum class Rule : uint32_t {
  kOnePlace,          // a page that cannot be put back at once is not given up
  kPageTableProof,    // the page table, not the answer of MOVE, says what moved
  kLadder,            // putting back goes on after MOVE is refused for good
  kSortShared,        // pages shared after a fork are sorted out before the window
  kBoundRefusals,     // few refusals in one window
  kMendAfterFork,     // pages whose child is gone are written to before the window
  kNoZeroPages,       // never a zero page, least of all a huge one
  kFreeOriginals,     // nothing new is written into an original
  kExcludeOwn,        // the engine's own memory is never moved
  kControlBlocks,     // nor the control block of a thread
  kRegisterMissing,   // live ranges are registered for missing pages
  kAnswerFirstTouch,  // a fault on a page that was never there is answered at once
  kGate,              // mremap and the like wait for the batch boundary
  kYoungThreads,      // threads made a moment ago are looked for, too
  kEndingThreads,     // and threads in the middle of their end
  kTableFirst,        // the batch's table stands before the registration
  kDrainBeforeOut,    // events are carried out before the move-out
  kDrainBeforeIn,     // and again before the move-in
  kMarkDiscarded,     // discarded pages are not isolated until seen absent
  kDropDiscarded,     // isolated pages that are discarded do not come back
  kBarrier,           // late writers through /proc/PID/mem are waited out
  kFillChildren,      // a child made in a window gets the isolated originals
  kKeepWiped,         // but for what the application wants wiped there
  kAreasDontFork,     // isolation areas and pool are not inherited
  kGuardFork,         // without fork events a batch's range is not inherited while it is away
  kGateFork,          // and fork waits for the batch boundary
  kFullRights,        // no own path without the right to kernel-mode faults
  kDropRights,        // engine threads drop the rights that the program drops
  kEndFirst,          // the agent ends before a sandbox or a user namespace
  kRawThreads,        // no thread that libc knows
  kSleepWhileIdle,    // until it is asked the agent makes no call
  kBlockSignals,      // no signal is taken by an engine thread
  kOwnDescriptors,    // the engine's descriptors stand in a table of their own
  kPinMover,          // the mover keeps its CPU for the length of a window
  kHeadroom,          // the pool grows only while twice its growth is free
  kCheckTargetNode,   // the node of each target page is asked
  kSpareMappings,     // the engine stops near vm.max_map_count
  kWholeHugePages,    // never part of a huge page
  kBoundAgains,       // a window does not wait for ever for a change of mappings
  kSortKinds,         // what the own path cannot take is sorted out by its kind of mapping
  kTellPinsApart,     // a pinned page is told apart from one that is shared
  kQuarantine,        // what a late copy engine may write to is not used
  kCopyUnmarked,      // what a copy engine has not copied the CPU copies
  kNoLiars,           // engines that mark what they have not copied, only where that is found out
  kCompareChanged,    // what was copied ahead of its window is compared in it
  kKeepShared,        // shared pages get copies only where that is asked for
  kUnwatchPool,       // nothing of a pool that is registered is freed
  kReadOwnFilter,     // no call below a seccomp filter that may kill for it
  kCount
};

#ifdef DROVER_MUTANTS
// Bit n takes rule n out. Set before the engine starts.
inline uint64_t rules_taken_out = 0;
inline bool RuleHolds(Rule rule) {
  return (rules_taken_out >> static_cast<uint32_t>(rule) & 1) == 0;
}
#else
constexpr bool RuleHolds(Rule) {
  return true;
}
#endif

}  // namespace drover::flow
