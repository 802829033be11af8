// `threads:N`: the caller and N-1 helpers copy chunks of one batch side by side. A chunk is claimed
// by whoever is running, so a helper that does not get a CPU takes none.
//
// The caller waits for chunks that helpers have claimed: a helper that loses its CPU in the middle
// of one lengthens the window. Helpers spin shortly between batches and then sleep.
#pragma once

#include <atomic>

#include "migrators/migrator.h"
#include "threads/threads.h"

namespace drover::migrators {

class ThreadsMigrator final : public Migrator {
 public:
  static constexpr uint64_t kChunkBytes = 64 << 10;

  ThreadsMigrator(CopyFunction copy, threads::Threads& threads) : copy_(copy), threads_(threads) {}

  // Starts the helpers; kAgain: no more threads to be had.
  [[nodiscard]] kernel::Errno Start(uint32_t helpers);
  // Lets the helpers end; they are joined by Threads::JoinAll.
  void Stop();

  Answer Submit(std::span<Folio> folios) override;
  bool Poll(uint64_t deadline_ns) override;

 private:
  static void HelperBody(void* self);
  void Help();
  // Claims and copies chunks of batch `turn` until none is left.
  void CopyChunks(uint32_t turn);
  void CopyChunk(uint64_t chunk) const;

  CopyFunction copy_;
  threads::Threads& threads_;
  std::span<Folio> folios_;
  uint64_t chunk_count_ = 0;  // the caller's
  // The batch's number in the high half, the count of unclaimed chunks in the low half. Claiming is
  // one exchange of both, so a helper that comes late cannot claim with the numbers of an older
  // batch; and nobody reads folios_ who has not claimed.
  std::atomic<uint64_t> unclaimed_ = 0;
  std::atomic<uint64_t> done_chunks_ = 0;
  threads::Word turn_ = 0;  // changes with every batch, and to stop
  std::atomic<bool> stop_ = false;
};

}  // namespace drover::migrators
