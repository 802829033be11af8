// The table of the batch that is on its way: what every page of the registered range is right now.
// Written before the range is registered, because from then on events name its pages.
//
//   kNotWanted                     kWanted --event--> kWithdrawn
//                                     |  \--refused--> kRefused
//                                     v
//                                 kIsolated --event--> kDropped
//                                  /     \                                 .
//                   remap -> kRemapped   kRestored <- undo
//
// Guarded by the move lock.
#pragma once

#include "flow/job.h"
#include "flow/limits.h"

namespace drover::flow {

enum class PageState : uint8_t {
  kNotWanted,  // not asked for, absent, or sorted out (then `why` says the cause)
  kWanted,     // to be isolated
  kWithdrawn,  // an event named it before it was isolated
  kRefused,    // MOVE refused it, or it was not tried
  kIsolated,   // in the isolation area; its live address is a hole
  kDropped,    // isolated, then thrown away or unmapped by the application
  kRemapped,   // the live address has the new page
  kRestored,   // the live address has a page with the old content that is not the target
};

// Which target a page has.
enum class Side : uint8_t {
  kFirst,  // in the batch's pool
  kOther,  // in its other pool, because a copy engine that is late still has the first one
  kNone,   // none: the original goes back
};

// Whose isolation area and pool a batch has.
enum class Ground : uint8_t {
  kForCpuAlone,  // some that no copy engine may have
  kFirstAreas,   // the engine's first areas, in which no copy engine holds addresses, so one may
  kBerth,        // the background's, until it is given back (background.h): the same
};

// How long pages of a batch were absent.
struct WindowTimes {
  uint64_t opened_ns = 0;                         // 0: it is not open
  uint64_t opened_cycles = 0, closed_cycles = 0;  // by the CPU's clock (cycles.h)
  uint64_t length_ns = 0;                         // when it has closed, and
  uint64_t pages = 0;                             // how many were absent; 0: none was opened
};

struct Batch {
  Range live;  // the registered range; empty: no batch
  uint64_t page_count = 0;
  bool huge = false;  // all of it whole huge pages
  Node target;        // invalid: the node where each page is
  Node source;        // where all of them are; invalid: on several, or there is only one
  uint64_t area = 0;  // isolation area and pool, same layout as `live`
  uint64_t pool = 0;
  uint64_t other_pool = 0;  // the same again; 0: there is none
  WindowTimes window;
  bool any_away = false;  // a page has been isolated
  uint32_t refusals = 0;  // since then
  uint32_t refusals_before = 0, refusals_before_max = kRefusalsPerWindowMax;
  uint32_t agains = 0;
  uint32_t followed_count = 0;
  Range followed[kFollowedRangesMax];  // registered because the application moved them
  bool follows_more = false;           // and others, for which there was no room
  Ground ground = Ground::kForCpuAlone;
  bool alone = false;         // the mover does all of it, with no helpers (helpers_trial.h)
  bool fills = false;         // no target is there before it is copied to (pool_filler.h)
  bool pool_watched = false;  // the pool is registered, so that it can be filled
  bool precopied = false;     // the CPU has copied, and compares in the window
  uint64_t changed = 0;       // pages of these that it has copied again
  bool has_others = false;    // targets in the other pool
  bool guarded = false;       // set to MADV_DONTFORK by the engine
  PageState state[kBatchPagesMax];
  Why why[kBatchPagesMax];
  Side side[kBatchPagesMax];
  uint8_t copied_by[kBatchPagesMax];  // migrators::Kind, or kByCpu
  uint64_t address[kBatchPagesMax];   // where each page belongs now; a remap changes it

  static constexpr uint8_t kByCpu = 0xff;
  uint64_t TargetOf(uint64_t i) const {
    return (side[i] == Side::kOther ? other_pool : pool) + i * kPageBytes;
  }

  static constexpr uint64_t kNone = ~uint64_t{0};
  // The page that belongs at `address` now, or kNone.
  uint64_t IndexOf(uint64_t page) const {
    if (!live.empty() && live.Contains(page)) {
      const uint64_t i = (page - live.start) / kPageBytes;
      if (address[i] == page) return i;
    }
    for (uint64_t i = 0; followed_count > 0 && i < page_count; ++i)
      if (address[i] == page) return i;
    return kNone;
  }
  bool for_engines() const { return ground != Ground::kForCpuAlone; }
  uint64_t folio_pages() const { return huge ? kPagesPerHuge : 1; }
};

// One application thread that waits on the window.
struct Waiter {
  uint64_t page_index;
  int32_t thread;
  uint64_t since_ns;
  Phase phase;  // in which it came
};

}  // namespace drover::flow
