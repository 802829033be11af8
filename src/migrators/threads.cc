#include "migrators/threads.h"

namespace drover::migrators {
namespace {

constexpr int kSpins = 2000;  // some tens of microseconds
// After the caller has run out of chunks: about as long as the copy of one takes. Under the thread
// sanitizer, to whom two copies of the same bytes into one place are a race, for ever.
#if defined(__SANITIZE_THREAD__)
constexpr uint64_t kPatienceSpins = ~uint64_t{0};
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
constexpr uint64_t kPatienceSpins = ~uint64_t{0};
#else
constexpr uint64_t kPatienceSpins = 2000;
#endif
#else
constexpr uint64_t kPatienceSpins = 2000;
#endif

void Pause() {
  asm volatile("pause");
}

}  // namespace

uint32_t ThreadsMigrator::Start(std::span<const int16_t> cpus) {
  stop_.store(false, std::memory_order_relaxed);
  helpers_begun_.store(0, std::memory_order_relaxed);
  for (auto& id : threads_of_) id.store(0, std::memory_order_relaxed);
  cpus_ = cpus.size() > kHelpersMax ? cpus.first(kHelpersMax) : cpus;
  uint32_t started = 0;
  while (started < cpus_.size() && threads_.Start(HelperBody, this) == kernel::Errno::kOk)
    ++started;
  return started;
}

void ThreadsMigrator::Stop() {
  stop_.store(true, std::memory_order_release);
  turn_.fetch_add(1, std::memory_order_release);
  threads_.WakeAll(turn_);
  for (const auto& id : threads_of_)
    if (const int32_t thread = id.load(std::memory_order_acquire); thread != 0)
      kernel_.LetHelperRun(thread);
}

void ThreadsMigrator::HelperBody(void* self) {
  static_cast<ThreadsMigrator*>(self)->Help();
}

void ThreadsMigrator::Help() {
  const uint32_t self = helpers_begun_.fetch_add(1);
  kernel_.BecomeHelper(cpus_[self]);
  threads_of_[self].store(kernel_.ThreadId(), std::memory_order_release);
  uint32_t seen = turn_.load(std::memory_order_acquire);
  // A handler that runs here may touch a hole and wait for the remap: this helper has claimed
  // nothing, so the batch goes on without it.
  const auto sleep = [&] {
    threads_.AllowIdentitySignal(true);
    threads_.Wait(turn_, seen, 0);
    threads_.AllowIdentitySignal(false);
  };
  while (!stop_.load(std::memory_order_acquire)) {
    uint32_t turn;
    for (int spins = 0; (turn = turn_.load(std::memory_order_acquire)) == seen; ++spins)
      if (spins < kSpins)
        Pause();
      else
        sleep();
    seen = turn;
    if (stop_.load(std::memory_order_acquire)) return;
    // Before the first claim: whoever sees 0 here, behind the end of a batch, knows that none of
    // its chunks is being copied.
    copying_.fetch_add(1, std::memory_order_acq_rel);
    CopyChunks(turn);
    copying_.fetch_sub(1, std::memory_order_release);
  }
}

Answer ThreadsMigrator::Submit(std::span<Folio> folios) {
  if (folios.empty()) return Answer::kTooSmall;
  if (folios.size() > kFoliosMax) return Answer::kUnsupported;
  if (HoldsAddresses()) return Answer::kBusy;
  const uint32_t turn = turn_.load(std::memory_order_relaxed) + 1;
  folios_ = folios;
  batch_count_ = folios.size();
  for (uint64_t i = 0; i < batch_count_; ++i) batch_[i] = folios[i];
  chunk_count_ = (batch_count_ * batch_[0].length_bytes + kChunkBytes - 1) / kChunkBytes;
  if (chunk_count_ > kChunksMax) return Answer::kUnsupported;
  for (uint64_t i = 0; i < chunk_count_; ++i) done_[i].store(false, std::memory_order_relaxed);
  unclaimed_.store(uint64_t{turn} << 32 | chunk_count_, std::memory_order_release);
  turn_.store(turn, std::memory_order_release);
  threads_.WakeAll(turn_);
  CopyChunks(turn);
  return Answer::kTaken;
}

bool ThreadsMigrator::Poll(uint64_t) {
  uint64_t spins = 0;
  for (uint64_t chunk = 0; chunk < chunk_count_; ++chunk) {
    for (; !IsDone(chunk) && spins < kPatienceSpins; ++spins) Pause();
    if (IsDone(chunk)) continue;
    CopyChunk(chunk);
    ++late_chunks_;
  }
  for (Folio& folio : folios_) folio.copied = true;
  return true;
}

void ThreadsMigrator::CopyChunks(uint32_t turn) {
  for (;;) {
    uint64_t seen = unclaimed_.load(std::memory_order_acquire);
    do {
      if (seen >> 32 != turn || (seen & 0xffffffff) == 0) return;
    } while (!unclaimed_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel));
    const uint64_t chunk = (seen & 0xffffffff) - 1;
    CopyChunk(chunk);
    done_[chunk].store(true, std::memory_order_release);
  }
}

void ThreadsMigrator::CopyChunk(uint64_t chunk) const {
  const uint64_t folio_bytes = batch_[0].length_bytes;
  uint64_t at = chunk * kChunkBytes;
  const uint64_t total = batch_count_ * folio_bytes;
  const uint64_t end = at + kChunkBytes < total ? at + kChunkBytes : total;
  while (at < end) {
    const Folio& folio = batch_[at / folio_bytes];
    const uint64_t offset = at % folio_bytes;
    uint64_t length = folio_bytes - offset < end - at ? folio_bytes - offset : end - at;
    // Folios that lie side by side on both ends are one copy.
    uint64_t next = (at + length) / folio_bytes;
    while (at + length < end && batch_[next].source == folio.source + offset + length &&
           batch_[next].target == folio.target + offset + length) {
      length += folio_bytes;
      ++next;
    }
    copy_(folio.target + offset, folio.source + offset, length);
    at += length;
  }
}

}  // namespace drover::migrators
