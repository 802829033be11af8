// Every bound of the core, by name. A queue, batch, retry or wait without a bound here has none on
// purpose, and says so where it stands (only putting pages back has none).
#pragma once

#include <cstdint>

#include "kernel/types.h"

namespace drover::flow {

inline constexpr uint64_t kBatchBytesDefault = 2u << 20;
inline constexpr uint64_t kBatchBytesMax = 16u << 20;
inline constexpr uint64_t kBatchPagesMax = kBatchBytesMax / kPageBytes;
// An isolation area or pool: a batch may start anywhere within a huge page's length.
inline constexpr uint64_t kAreaBytes = kBatchBytesMax + kHugeBytes;
// Refusals inside one window; each lengthens it.
inline constexpr uint32_t kRefusalsPerWindowMax = 8;
// Times that a window waits for an event of a change of mappings while pages are moved out.
inline constexpr uint32_t kAgainsPerWindowMax = 64;
// A run of pages that UFFDIO_MOVE denies to have moved lies within one page table.
inline constexpr uint64_t kDeniedPagesMax = 512;
// Ranges that became registered because the application moved them inside a window.
inline constexpr uint32_t kFollowedRangesMax = 64;
// Of a window: time that the mover had no CPU, from which on it is called preempted.
inline constexpr uint64_t kLostCpuNs = 20'000;
inline constexpr uint64_t kMaxStallNsLeast = 10'000, kMaxStallNsMost = 10'000'000'000;
// Pairs of nodes that have a pace of their own under a stall budget; the others share the last.
inline constexpr uint32_t kPacesMax = 16;
// Looks at a batch that was copied ahead of its window, the first copy included, before pages that
// go on changing are left as over the budget.
inline constexpr int kPrecopyRoundsMax = 3;
// Of the pages that are copied ahead: how many of 1,024 may change before another look pays.
inline constexpr uint64_t kPrecopyChangedMost = 128;
// What is read at a time for such a look.
inline constexpr uint64_t kPrecopyStepBytes = 16u << 10;
// Tries to end a registration that only a lack of memory refuses.
inline constexpr uint32_t kUnregisterTriesMax = 64;
// Looks behind a mapping that grows again and again while its registration is ended.
inline constexpr uint32_t kGrowthTriesMax = 64;
// Pages that the application threw away and that have not been seen absent yet.
inline constexpr uint32_t kMarkSlots = 1u << 16;
inline constexpr uint32_t kMarksMax = kMarkSlots / 4 * 3;
// Threads of the application whose control blocks are looked up.
inline constexpr uint32_t kControlBlocksMax = 16384;
inline constexpr uint32_t kRangesMax = 64;
inline constexpr uint32_t kOwnRangesMax = 32;
// Ranges that a job does not ask for: an agent's memory, and its image.
inline constexpr uint32_t kLeftOutMax = 2 * kOwnRangesMax;
inline constexpr uint32_t kNodesMax = 64;
// How long a batch waits for the answer of a copy engine: a part that all take, and one by size.
inline constexpr uint64_t kMigratorPatienceNs = 50'000'000;
// At the end of a job, for a plugin that has not let go of everything.
inline constexpr uint64_t kPluginPatienceNs = 1'000'000'000;
inline constexpr uint64_t kMigratorPatiencePerPageNs = 40'000;  // 0.1 GB/s
// Threads that wait on one window and are told apart in the stall figures.
inline constexpr uint32_t kWaitersMax = 1024;
// Children of children that may be waiting for their holes at once, one forked by the other. Each
// is filled before its parent goes on, so more than two take a program that forks in a chain.
inline constexpr uint32_t kGenerationsMax = 8;
// Faults set aside because a change of mappings was under way when they were to be answered.
inline constexpr uint32_t kPostponedFaultsMax = 64;
// How long a batch keeps the gate closed while it waits for the application to leave a gated call:
// whoever is inside may be waiting for somebody who waits outside. Then it opens for as long, and
// tries again so many times before the job gives up.
inline constexpr uint64_t kGateWaitNs = 10'000'000;
inline constexpr uint32_t kGateTriesMax = 500;
// Folios that the kernel path has in hand at most, and small pages of those, so that a job can be
// stopped in between.
inline constexpr uint32_t kKernelChunkFolios = 4096;
inline constexpr uint64_t kKernelChunkPages = 16384;
// Threads that make its calls beside the mover; more would wait for the same locks. And the folios
// that are worth a call of their own.
inline constexpr uint32_t kKernelHelpersMax = 3, kKernelPartLeast = 64;
// Pages of one chunk that are tried by themselves because their batch came back without a status.
inline constexpr uint32_t kKernelSingleStepsMax = 64;
// Mappings that must remain below vm.max_map_count.
inline constexpr uint64_t kMappingsSpared = 1000;
// Batches between two looks at that count, which costs a microsecond per mapping.
inline constexpr uint64_t kMappingsCheckedEvery = 1024;
// Pieces whose pages are written before the window after a page has refused as busy.
inline constexpr uint32_t kPiecesMendedAfterBusy = 16;
// Threads that pthread_create has made and that may not have told the kernel their robust list.
inline constexpr uint32_t kYoungThreadsMax = 1024;
// Locked mappings, and those with a protection key, that are known before a window refuses them.
inline constexpr uint32_t kUnlikeRangesMax = 4096;
// Refusals of a batch of which no page is away yet: nobody waits for a page, but first touches and
// gated calls do.
inline constexpr uint32_t kRefusalsBeforeWindowMax = 64;
// Windows for one piece: what a window has not come to is tried in another one.
inline constexpr int kWindowsPerPieceMax = 8;
// Rounds of tries after the walk, by mode, and the pause before the first; each pause is twice the
// one before it. In mode sync they add up to the time that is given (by default kRetryForNs).
inline constexpr uint32_t kRoundsSyncLight = 3;
inline constexpr uint32_t kRoundsSync = 7;
inline constexpr uint64_t kPauseSyncLightNs = 1'000'000;
inline constexpr uint64_t kRetryForNs = 1'000'000'000;
inline constexpr uint64_t kRetryForNsMax = 3'600'000'000'000;
// Runs of pages that are put aside for the next round; what comes after that many is not tried
// again.
inline constexpr uint32_t kAgainRunsMax = 4096;
// Between two looks whether the job is to stop, in a pause.
inline constexpr uint64_t kPauseStepNs = 10'000'000;
// The longest waits that a result names one by one.
inline constexpr uint32_t kLongWaitsNamed = 8;
// What a job may be held to: not so little that it would seem to hang.
inline constexpr uint64_t kRateLeast = 64 << 10;  // bytes a second
inline constexpr uint64_t kRateMost = uint64_t{1} << 40;
inline constexpr uint64_t kCpuPercentMost = 100;
inline constexpr uint64_t kJobTimeNsMost = uint64_t{30} * 24 * 3600 * 1'000'000'000;
// Mappings that the application itself has set to MADV_DONTFORK (looked up without fork events).
inline constexpr uint32_t kDontForkRangesMax = 256;
// Descriptors that must be free in the engine's table: each child that is made in a window comes
// with one.
inline constexpr uint64_t kDescriptorsSpared = 16;
// The background's (background.h): how long the mover waits for a part of an errand that has been
// begun, and between two looks.
inline constexpr uint64_t kErrandPatienceNs = 1'000'000'000;
inline constexpr uint64_t kErrandNapNs = 20'000;
// 2 MiB slots whose small pages become huge ones between two looks whether the job is to stop.
inline constexpr uint32_t kGatherSlotsMax = 32;
// Threads that make them beside the mover: more only wait for the lock.
inline constexpr uint32_t kGatherHelpersMax = 1;
// Tries of one of them that is in use, and of slots in a row that took longer than the budget,
// before the others are left.
inline constexpr uint32_t kGatherTriesMax = 4, kGatherOverMax = 2;
// And slots in a row for which there was no huge page, each of which may make the kernel compact.
inline constexpr uint32_t kGatherNoMemoryMax = 8;
// Mappings that the program has advised to be of huge pages.
inline constexpr uint32_t kWantsHugeRangesMax = 4096;
// What --verify keeps of originals, for how long at least, and how often it goes on looking at one
// to which late writes have come.
inline constexpr uint32_t kKeptPagesMax = (64u << 20) / kPageBytes;
inline constexpr uint32_t kKeptBatchesMax = 4096;
inline constexpr uint64_t kKeptAtLeastNs = 100'000'000;
inline constexpr uint32_t kLateRoundsMax = 3;
// Late writes that a result names one by one; the others are counted.
inline constexpr uint32_t kLateWritesNamed = 32;
// How long a look at the memory limits is believed.
inline constexpr uint64_t kHeadroomAgeNs = 50'000'000;

}  // namespace drover::flow
