#include "migrators/channels.h"

#include "kernel/raw_syscall.h"
#include "migrators/spin.h"

namespace drover::migrators {
namespace {

using kernel::AddressOf;

// The status byte is written last, and whoever sees it sees what was copied.
void Complete(Completion& record, uint8_t status, uint32_t bytes) {
  record.hw.bytes_completed = bytes;
  __atomic_store_n(&record.hw.status, status, __ATOMIC_RELEASE);
}
uint8_t StatusIn(const Completion& record) {
  return __atomic_load_n(&record.hw.status, __ATOMIC_ACQUIRE);
}

void Clear(Completion& record) {
  record.hw = {};
  __atomic_store_n(&record.hw.status, uint8_t{DSA_COMP_NONE}, __ATOMIC_RELAXED);
}

bool Overlap(uint64_t a, uint64_t b, uint64_t length) {
  return a < b ? b - a < length : a - b < length;
}

}  // namespace

// ---- a channel

void ChannelsMigrator::ChannelBody(void* channel) {
  auto& self = *static_cast<Channel*>(channel);
  self.engine->Serve(self);
}

void ChannelsMigrator::Serve(Channel& channel) {
  kernel_.BecomeHelper(channel.cpu);
  channel.thread.store(kernel_.ThreadId(), std::memory_order_release);
  // A handler that runs here may touch a hole and wait for the remap: nothing is being copied, so
  // the batch goes on without this channel.
  const auto sleep = [&](uint32_t seen) {
    threads_.AllowIdentitySignal(true);
    threads_.Wait(channel.doorbell, seen, 0);
    threads_.AllowIdentitySignal(false);
  };
  for (int spins = 0;;) {
    const uint32_t rung = channel.doorbell.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) break;  // (it rings, too, and there is no entry)
    const uint32_t taken = channel.taken.load(std::memory_order_relaxed);
    if (rung == taken) {
      if (++spins < kSpinsBeforeSleep)
        Pause();
      else
        sleep(rung);
      continue;
    }
    spins = 0;
    const uint32_t entry = taken % kRingEntries;
    RunBatch(channel, channel.ring[entry], channel.ring_records[entry]);
    channel.taken.store(taken + 1, std::memory_order_release);
  }
  cpu_ns_.fetch_add(kernel_.ThreadCpuNs());
}

// From both ends in turn: the hardware, too, runs the descriptors of a batch in any order.
void ChannelsMigrator::RunBatch(Channel& channel, Descriptor& batch, Completion& record) {
  const auto* const list = reinterpret_cast<const Descriptor*>(batch.hw.desc_list_addr);
  const auto first = static_cast<uint32_t>(list - descriptors_);
  const uint32_t count = batch.hw.desc_count;
  bool failed = false;
  for (uint32_t k = 0; k < count; ++k) {
    const uint32_t at = first + (k % 2 == 0 ? k / 2 : count - 1 - k / 2);
    Hold expected = Hold::kQueued;
    if (!hold_[at].compare_exchange_strong(expected, Hold::kRunning, std::memory_order_acq_rel)) {
      failed = true;
      continue;
    }
    RunOne(at);
    failed = failed || StatusIn(completions_[at]) != DSA_COMP_SUCCESS;
    // An even one comes behind the odd one from the other end.
    if (k % 2 == 0 && k > 0) channel.out_of_order.fetch_add(1, std::memory_order_relaxed);
    hold_[at].store(Hold::kEnded, std::memory_order_release);
  }
  Complete(record, failed ? DSA_COMP_BATCH_FAIL : DSA_COMP_SUCCESS, count);
}

uint8_t ChannelsMigrator::StatusOf(const dsa_hw_desc& hw) {
  if (hw.opcode != DSA_OPCODE_MEMMOVE) return DSA_COMP_BAD_OPCODE;
  if ((hw.flags & ~uint32_t{IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CRAV}) != 0)
    return DSA_COMP_INVALID_FLAGS;
  if (hw.xfer_size == 0 || hw.xfer_size > kTransferMax) return DSA_COMP_XFER_ERANGE;
  // (The hardware moves bytes from any address. These copy functions want pages.)
  if ((hw.src_addr | hw.dst_addr | hw.xfer_size) % kPageBytes != 0) return DSA_COMP_ADDR_ALIGN;
  return Overlap(hw.src_addr, hw.dst_addr, hw.xfer_size) ? DSA_COMP_OVERLAP_BUFFERS
                                                         : DSA_COMP_SUCCESS;
}

void ChannelsMigrator::RunOne(uint32_t at) {
  const dsa_hw_desc& hw = descriptors_[at].hw;
  const uint8_t status = StatusOf(hw);
  if (status == DSA_COMP_SUCCESS) copy_.load()(hw.dst_addr, hw.src_addr, hw.xfer_size);
  Complete(completions_[at], status, status == DSA_COMP_SUCCESS ? hw.xfer_size : 0);
}

// ---- the mover

uint32_t ChannelsMigrator::Start(uint32_t count, std::span<const int16_t> cpus) {
  stop_.store(false, std::memory_order_relaxed);
  count_ = 0;
  while (count_ < count && count_ < kChannelsMax) {
    Channel& channel = channels_[count_];
    channel.engine = this;
    channel.cpu = cpus.empty() ? int16_t{-1} : cpus[count_ % cpus.size()];
    channel.taken.store(channel.doorbell.load(std::memory_order_relaxed),
                        std::memory_order_relaxed);
    channel.thread.store(0, std::memory_order_relaxed);
    channel.skip = 0;
    channel.skip_next = 1;
    if (threads_.Start(ChannelBody, &channel) != kernel::Errno::kOk) break;
    ++count_;
  }
  return count_;
}

void ChannelsMigrator::Stop() {
  stop_.store(true, std::memory_order_release);
  for (uint32_t i = 0; i < count_; ++i) {
    channels_[i].doorbell.fetch_add(1, std::memory_order_release);
    threads_.WakeAll(channels_[i].doorbell);
    if (const int32_t thread = channels_[i].thread.load(std::memory_order_acquire); thread != 0)
      kernel_.LetHelperRun(thread);
  }
}

void ChannelsMigrator::Prepare(uint32_t at, const Folio& folio) {
  Clear(completions_[at]);
  descriptors_[at].hw = {};
  dsa_hw_desc& hw = descriptors_[at].hw;
  hw.opcode = DSA_OPCODE_MEMMOVE;
  hw.flags = IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CRAV;
  hw.completion_addr = AddressOf(&completions_[at]);
  hw.src_addr = folio.source;
  hw.dst_addr = folio.target;
  hw.xfer_size = static_cast<uint32_t>(folio.length_bytes);
  hold_[at].store(Hold::kQueued, std::memory_order_release);
}

// Hands the channel its part: the one place that knows a portal.
void ChannelsMigrator::Ring(Channel& channel) {
  uint32_t rung = channel.doorbell.load(std::memory_order_relaxed);
  for (uint32_t at = channel.first; at < channel.end; at += kBatchMax) {
    const uint32_t entry = rung++ % kRingEntries;
    Clear(channel.ring_records[entry]);
    dsa_hw_desc& hw = channel.ring[entry].hw;
    hw = {};
    hw.opcode = DSA_OPCODE_BATCH;
    hw.flags = IDXD_OP_FLAG_RCR | IDXD_OP_FLAG_CRAV;
    hw.completion_addr = AddressOf(&channel.ring_records[entry]);
    hw.desc_list_addr = AddressOf(&descriptors_[at]);
    hw.desc_count = channel.end - at < kBatchMax ? channel.end - at : kBatchMax;
  }
  channel.doorbell.store(rung, std::memory_order_release);
  threads_.WakeAll(channel.doorbell);
}

// One that has been given up is left out for a while, and as long as its ring is full of what it
// has not even looked at.
bool ChannelsMigrator::IsAble(Channel& channel) {
  const uint32_t waiting = channel.doorbell.load(std::memory_order_relaxed) -
                           channel.taken.load(std::memory_order_acquire);
  if (channel.skip > 0) --channel.skip;
  return channel.skip == 0 && waiting + kFoliosMax / kBatchMax <= kRingEntries;
}

Answer ChannelsMigrator::Submit(std::span<Folio> folios) {
  if (folios.empty()) return Answer::kTooSmall;
  if (folios.size() > kFoliosMax || folios[0].length_bytes > kTransferMax)
    return Answer::kUnsupported;
  Channel* able[kChannelsMax];
  uint32_t able_count = 0;
  for (uint32_t i = 0; i < count_; ++i) {
    if (channels_[i].first < channels_[i].end) return Answer::kBusy;  // for Poll
  }
  for (uint32_t i = 0; i < count_; ++i)
    if (IsAble(channels_[i])) able[able_count++] = &channels_[i];
  if (able_count == 0) return Answer::kBusy;
  folios_ = folios;
  copy_.store(copies_.For(folios).copy);  // (None is absent: see FillsTargets.)
  const auto count = static_cast<uint32_t>(folios.size());
  for (uint32_t at = 0; at < count; ++at) Prepare(at, folios[at]);
  const uint64_t now_ns = kernel_.NowNs();
  for (uint32_t i = 0; i < able_count; ++i) {
    Channel& channel = *able[i];
    channel.first = count * i / able_count;
    channel.end = count * (i + 1) / able_count;
    channel.ended = 0;
    channel.progress_ns = now_ns;
    if (channel.first < channel.end) Ring(channel);
  }
  return Answer::kTaken;
}

uint32_t ChannelsMigrator::CountEnded(const Channel& channel) const {
  uint32_t ended = 0;
  for (uint32_t at = channel.first; at < channel.end; ++at)
    ended += StatusIn(completions_[at]) != DSA_COMP_NONE ? 1 : 0;
  return ended;
}

bool ChannelsMigrator::IsQuiet(const Channel& channel) const {
  for (uint32_t at = channel.first; at < channel.end; ++at) {
    const Hold hold = hold_[at].load(std::memory_order_acquire);
    if (hold == Hold::kQueued || hold == Hold::kRunning) return false;
  }
  return true;
}

void ChannelsMigrator::Withdraw(Channel& channel) {
  for (uint32_t at = channel.first; at < channel.end; ++at) {
    Hold expected = Hold::kQueued;
    (void)hold_[at].compare_exchange_strong(expected, Hold::kWithdrawn, std::memory_order_acq_rel);
  }
  channel.skip = channel.skip_next;
  channel.skip_next = channel.skip_next * 2 < kSkipMax ? channel.skip_next * 2 : kSkipMax;
}

// True: this channel is done with, be it because it was given up.
bool ChannelsMigrator::LookAt(Channel& channel, uint64_t now_ns) {
  const uint32_t all = channel.end - channel.first;
  if (channel.skip > 0 || all == 0) return IsQuiet(channel);
  const uint32_t ended = CountEnded(channel);
  if (ended == all) {
    channel.skip_next = 1;
    return IsQuiet(channel);
  }
  if (ended != channel.ended) {
    channel.ended = ended;
    channel.progress_ns = now_ns;
  }
  if (now_ns - channel.progress_ns > (ended == 0 ? kBeginNs : kStuckNs)) Withdraw(channel);
  return false;
}

bool ChannelsMigrator::Poll(uint64_t deadline_ns) {
  for (;;) {
    const uint64_t now_ns = kernel_.NowNs();
    bool all = true;
    for (uint32_t i = 0; i < count_; ++i)
      if (channels_[i].first < channels_[i].end && !LookAt(channels_[i], now_ns)) all = false;
    if (all) break;
    if (now_ns >= deadline_ns) return false;
    for (int i = 0; i < 64; ++i) Pause();
  }
  Mark();
  return true;
}

void ChannelsMigrator::Mark() {
  for (uint32_t at = 0; at < folios_.size(); ++at)
    folios_[at].copied = StatusIn(completions_[at]) == DSA_COMP_SUCCESS &&
                         completions_[at].hw.bytes_completed == folios_[at].length_bytes;
  for (uint32_t i = 0; i < count_; ++i) channels_[i].first = channels_[i].end = 0;
}

uint64_t ChannelsMigrator::out_of_order() const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count_; ++i)
    sum += channels_[i].out_of_order.load(std::memory_order_relaxed);
  return sum;
}

}  // namespace drover::migrators
