#include "migrators/threads.h"

namespace drover::migrators {
namespace {

constexpr int kSpins = 2000;  // some tens of microseconds

void Pause() {
  asm volatile("pause");
}

}  // namespace

kernel::Errno ThreadsMigrator::Start(uint32_t helpers) {
  stop_.store(false, std::memory_order_relaxed);
  for (uint32_t i = 0; i < helpers; ++i)
    if (const kernel::Errno error = threads_.Start(HelperBody, this); error != kernel::Errno::kOk)
      return error;
  return kernel::Errno::kOk;
}

void ThreadsMigrator::Stop() {
  stop_.store(true, std::memory_order_release);
  turn_.fetch_add(1, std::memory_order_release);
  threads_.WakeAll(turn_);
}

void ThreadsMigrator::HelperBody(void* self) {
  static_cast<ThreadsMigrator*>(self)->Help();
}

void ThreadsMigrator::Help() {
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
    CopyChunks(turn);
  }
}

Answer ThreadsMigrator::Submit(std::span<Folio> folios) {
  if (folios.empty()) return Answer::kTooSmall;
  // Poll has waited for every claimed chunk of the last batch: nobody reads folios_ now.
  const uint32_t turn = turn_.load(std::memory_order_relaxed) + 1;
  folios_ = folios;
  chunk_count_ = (folios.size() * folios[0].length_bytes + kChunkBytes - 1) / kChunkBytes;
  done_chunks_.store(0, std::memory_order_relaxed);
  unclaimed_.store(uint64_t{turn} << 32 | chunk_count_, std::memory_order_release);
  turn_.store(turn, std::memory_order_release);
  threads_.WakeAll(turn_);
  CopyChunks(turn);
  return Answer::kTaken;
}

bool ThreadsMigrator::Poll(uint64_t) {
  while (done_chunks_.load(std::memory_order_acquire) < chunk_count_) Pause();
  for (Folio& folio : folios_) folio.copied = true;
  return true;
}

void ThreadsMigrator::CopyChunks(uint32_t turn) {
  for (;;) {
    uint64_t seen = unclaimed_.load(std::memory_order_acquire);
    do {
      if (seen >> 32 != turn || (seen & 0xffffffff) == 0) return;
    } while (!unclaimed_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel));
    CopyChunk((seen & 0xffffffff) - 1);
    done_chunks_.fetch_add(1, std::memory_order_release);
  }
}

void ThreadsMigrator::CopyChunk(uint64_t chunk) const {
  const uint64_t folio_bytes = folios_[0].length_bytes;
  uint64_t at = chunk * kChunkBytes;
  const uint64_t total = folios_.size() * folio_bytes;
  const uint64_t end = at + kChunkBytes < total ? at + kChunkBytes : total;
  while (at < end) {
    const Folio& folio = folios_[at / folio_bytes];
    const uint64_t offset = at % folio_bytes;
    uint64_t length = folio_bytes - offset < end - at ? folio_bytes - offset : end - at;
    // Folios that lie side by side on both ends are one copy.
    uint64_t next = (at + length) / folio_bytes;
    while (at + length < end && folios_[next].source == folio.source + offset + length &&
           folios_[next].target == folio.target + offset + length) {
      length += folio_bytes;
      ++next;
    }
    copy_(folio.target + offset, folio.source + offset, length);
    at += length;
  }
}

}  // namespace drover::migrators
