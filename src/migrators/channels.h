// `channels:N`: a DMA engine in software. It takes the descriptors of Intel's Data Streaming
// Accelerator and answers with its completion records (Intel DSA Architecture Specification,
// 355250, "Descriptors" and "Completion Record"; <linux/idxd.h>), so that for hardware only the
// portal has to be another one.
//
// A batch is split over the channels as the kernel series does it: channel i of c gets the folios
// from n*i/c to n*(i+1)/c. Each channel is a ring and a helper thread, which runs only where
// nothing else wants to; it takes the descriptors of one batch out of order, as the hardware may. A
// channel on which nothing happens for a while is given up for this batch: what it has not begun is
// withdrawn, and the CPU copies that. It is left out of the next batches, too, of more and more of
// them while it stays so.
//
// Large: it stands in the engine's memory. Start, Stop, Submit and Poll on the mover thread.
#pragma once

#include <linux/idxd.h>

#include <atomic>

#include "kernel/kernel.h"
#include "migrators/migrator.h"
#include "migrators/spec.h"
#include "threads/threads.h"

namespace drover::migrators {

// What the hardware would read and write; 64-byte and 32-byte aligned as the specification asks.
struct alignas(64) Descriptor {
  dsa_hw_desc hw;
};
struct alignas(32) Completion {
  dsa_completion_record hw;
};
static_assert(sizeof(Descriptor) == 64 && sizeof(Completion) == 32);

class ChannelsMigrator final : public Migrator {
 public:
  static constexpr uint32_t kBatchMax = 1024;  // descriptors of a batch descriptor
  static constexpr uint64_t kTransferMax = 1u << 31;
  // Time without any completion after which a channel is given up: before its first, and between.
  static constexpr uint64_t kBeginNs = 500'000, kStuckNs = 3'000'000;

  ChannelsMigrator(CopyFunctions copy, kernel::Kernel& kernel, threads::Threads& threads)
      : copies_(copy), copy_(copy.large), kernel_(kernel), threads_(threads) {}

  // Starts `count` channels, in turn on these CPUs (none: anywhere); returns how many there are.
  uint32_t Start(uint32_t count, std::span<const int16_t> cpus);
  // Lets the channels end; they are joined by Threads::JoinAll.
  void Stop();

  Answer Submit(std::span<Folio> folios) override;
  bool Poll(uint64_t deadline_ns) override;

  uint64_t cpu_ns() const { return cpu_ns_.load(); }  // of channels that have ended
  uint64_t out_of_order() const;  // completions behind one that was asked for later

 private:
  // What has become of one descriptor, for whoever wants to take it.
  enum class Hold : uint8_t { kQueued, kRunning, kEnded, kWithdrawn };
  static constexpr uint32_t kRingEntries = 16;  // twice what one Submit may need of a channel
  static constexpr uint32_t kSkipMax = 256;

  struct Channel {
    ChannelsMigrator* engine = nullptr;
    Descriptor ring[kRingEntries];
    Completion ring_records[kRingEntries];
    threads::Word doorbell = 0;       // descriptors written to the ring so far
    std::atomic<uint32_t> taken = 0;  // and done with
    std::atomic<int32_t> thread = 0;
    int16_t cpu = -1;
    std::atomic<uint64_t> out_of_order = 0;
    // The mover's: its part of the batch, and how it has done lately.
    uint32_t first = 0, end = 0;
    uint32_t skip = 0, skip_next = 1;
    uint64_t progress_ns = 0;
    uint32_t ended = 0;
  };

  static void ChannelBody(void* channel);
  void Serve(Channel& channel);
  void RunBatch(Channel& channel, Descriptor& batch, Completion& record);
  void RunOne(uint32_t at);
  static uint8_t StatusOf(const dsa_hw_desc& hw);

  void Prepare(uint32_t at, const Folio& folio);
  void Ring(Channel& channel);
  bool IsAble(Channel& channel);
  uint32_t CountEnded(const Channel& channel) const;
  void Withdraw(Channel& channel);
  // True: nobody reads or writes for this channel any more.
  bool IsQuiet(const Channel& channel) const;
  bool LookAt(Channel& channel, uint64_t now_ns);
  void Mark();

  const CopyFunctions copies_;
  std::atomic<CopyFunction> copy_;  // of this batch; a late channel may take the next one's
  kernel::Kernel& kernel_;
  threads::Threads& threads_;
  std::atomic<bool> stop_ = false;
  uint32_t count_ = 0;
  std::atomic<uint32_t> begun_ = 0;
  std::atomic<uint64_t> cpu_ns_ = 0;
  std::span<Folio> folios_;
  Channel channels_[kChannelsMax];
  std::atomic<Hold> hold_[kFoliosMax] = {};
  Descriptor descriptors_[kFoliosMax];
  Completion completions_[kFoliosMax];
};

}  // namespace drover::migrators
