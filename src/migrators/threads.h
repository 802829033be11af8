// `threads:N`: the caller and helpers copy chunks of one batch side by side. A chunk is claimed by
// whoever is running, and helpers run only where nothing else wants to (SCHED_IDLE): one that does
// not get its CPU claims nothing. On a busy machine the caller copies everything, as `serial` does.
//
// A helper that loses its CPU in the middle of a chunk is late: after a short wait the caller
// copies that chunk, too, into the same place. Until the helper has let go the batch's addresses
// are held, and the next batches are refused.
//
// Where the kernel copies (CopyFunctions::untouched, filler) it does so under locks that others
// wait for, with pages pinned that nobody can move meanwhile. So helpers get their CPUs as any
// other thread does then, rest for a while when something else has run there, and one that is late
// all the same makes the batch late as a whole. A helper that has errands, which are such calls,
// too, gets its CPU and rests in the same way.
//
// The caller takes chunks from the batch's beginning, helpers from its end: so each CPU goes on
// with what it has had in its caches.
//
// Submit, Poll and HoldsAddresses on the mover thread. The folios that were submitted last stay
// where they are while addresses are held.
#pragma once

#include <atomic>

#include "kernel/kernel.h"
#include "migrators/copy_by_kernel.h"
#include "migrators/crowd.h"
#include "migrators/errands.h"
#include "migrators/migrator.h"
#include "migrators/spec.h"
#include "threads/threads.h"

namespace drover::migrators {

class ThreadsMigrator final : public Migrator {
 public:
  static constexpr uint64_t kChunkBytes = 64 << 10;
  static constexpr uint64_t kKernelChunkBytes = kCopyByKernelStepBytes;
  static constexpr uint64_t kHelpersPatienceNs = 5'000'000;
  static constexpr uint64_t kChunksMax = 4096;  // of a batch, which is up to 256 MiB then

  ThreadsMigrator(CopyFunctions copy, kernel::Kernel& kernel, threads::Threads& threads)
      : copies_(copy),
        copy_{copy.large},
        kernel_(kernel),
        threads_(threads),
        first_bell_(threads),
        others_bell_(threads) {}

  // Starts a helper on each of these CPUs (negative: on any; the list stays where it is until they
  // have ended), of which the first has the errands, if any, too; returns how many there are.
  uint32_t Start(std::span<const int16_t> cpus, Errands* errands);
  // Lets the helpers end, also where something else has taken their CPUs; they are joined by
  // Threads::JoinAll.
  void Stop();

  Answer Submit(std::span<Folio> folios) override;
  bool Poll(uint64_t deadline_ns) override;
  bool HoldsAddresses() override { return copying_.load(std::memory_order_acquire) > 0; }
  uint64_t cpu_ns() const { return cpu_ns_.load(); }  // of helpers that have ended
  uint64_t late_chunks() const { return late_chunks_; }

 private:
  static void HelperBody(void* self);
  void Help();
  // What there is to do, if anything; `seen`: the last batch's turn that this helper has seen.
  Errands::Found DoOne(Errands* errands, uint32_t* seen);
  void RingAll();
  void LetSignalIn();
  void Rest();
  enum class From : uint8_t { kBeginning, kEnd };
  // Claims and copies chunks of batch `turn` until none is left.
  void CopyChunks(uint32_t turn, From from);
  void CopyChunk(uint64_t chunk);
  // For helpers that have claimed chunks. False: not within its time.
  bool AwaitHelpers(uint64_t deadline_ns);
  void End();  // of the batch, which is copied
  bool IsDone(uint64_t chunk) const { return done_[chunk].load(std::memory_order_acquire); }

  CopyFunctions copies_;
  CopyCall copy_;  // of this batch
  std::atomic<bool> any_failed_ = false;
  uint64_t chunk_bytes_ = kChunkBytes;
  kernel::Kernel& kernel_;
  threads::Threads& threads_;
  uint64_t chunk_count_ = 0;
  uint64_t late_chunks_ = 0;
  static constexpr uint32_t kHelpersMax = kThreadsMax;
  std::atomic<uint32_t> helpers_begun_ = 0;
  std::atomic<int32_t> threads_of_[kHelpersMax] = {};  // ids; 0: not begun
  std::span<const int16_t> cpus_;  // of the helpers, in the order in which they begin
  // The batch's number, and the first and the end of the chunks that nobody has claimed
  // (Unclaimed). Claiming is one exchange of all that, so a helper that comes late cannot claim
  // with the numbers of an older batch; and nobody reads folios_ who has not claimed.
  std::atomic<uint64_t> unclaimed_ = 0;
  std::atomic<uint32_t> copying_ = 0;  // helpers that may have claimed a chunk
  std::atomic<uint32_t> turn_ = 0;     // changes with every batch
  uint32_t turn_at_start_ = 0;
  // With every batch, and to stop; that of the first helper with every errand, too.
  Bell first_bell_, others_bell_;
  Errands* errands_ = nullptr;
  std::atomic<uint64_t> cpu_ns_ = 0;
  threads::Word stop_ = 0;
  std::atomic<bool> done_[kChunksMax] = {};
  bool waits_ = false;       // for Poll
  std::span<Folio> folios_;  // helpers read addresses and lengths
};

}  // namespace drover::migrators
