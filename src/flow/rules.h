// The safety rules that can be taken out, one by one, in the `mutants` build, to prove that a test
// notices. In every other build they are constants and cost nothing.
#pragma once

#include <cstdint>

namespace drover::flow {

enum class Rule : uint32_t {
  kPageTableProof,    // the page table, not the answer of MOVE, says what moved
  kLadder,            // putting back goes on after MOVE is refused for good
  kSortShared,        // pages shared after a fork are sorted out before the window
  kBoundRefusals,     // few refusals in one window
  kExcludeOwn,        // the engine's own memory is never moved
  kControlBlocks,     // nor the control block of a thread
  kRegisterMissing,   // live ranges are registered for missing pages
  kAnswerFirstTouch,  // a fault on a page that was never there is answered at once
  kGate,              // mremap and the like wait for the batch boundary
  kTableFirst,        // the batch's table stands before the registration
  kDrainBeforeOut,    // events are carried out before the move-out
  kDrainBeforeIn,     // and again before the move-in
  kMarkDiscarded,     // discarded pages are not isolated until seen absent
  kDropDiscarded,     // isolated pages that are discarded do not come back
  kBarrier,           // late writers through /proc/PID/mem are waited out
  kFillChildren,      // a child made in a window gets the isolated originals
  kAreasDontFork,     // isolation areas and pool are not inherited
  kDropRights,        // engine threads drop the rights that the program drops
  kOwnDescriptors,    // the engine's descriptors stand in a table of their own
  kHeadroom,          // the pool grows only while twice its growth is free
  kCheckTargetNode,   // the node of each target page is asked
  kSpareMappings,     // the engine stops near vm.max_map_count
  kWholeHugePages,    // never part of a huge page
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
