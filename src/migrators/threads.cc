#include "migrators/threads.h"

#include "migrators/spin.h"
#include "threads/sanitizer.h"

namespace drover::migrators {
namespace {

// After the caller has run out of chunks: about as long as the copy of one takes. Under the thread
// sanitizer, to whom two copies of the same bytes into one place are a race, for ever.
constexpr uint64_t kPatienceSpins = DROVER_THREAD_SANITIZER != 0 ? ~uint64_t{0} : 2000;

// A batch's number, and its chunks that nobody has claimed, in one word.
struct Unclaimed {
  uint32_t turn;
  uint16_t first, end;

  static Unclaimed Of(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16),
            static_cast<uint16_t>(word)};
  }
  uint64_t word() const { return uint64_t{turn} << 32 | uint64_t{first} << 16 | end; }
};
static_assert(ThreadsMigrator::kChunksMax <= UINT16_MAX);

}  // namespace

uint32_t ThreadsMigrator::Start(std::span<const int16_t> cpus, Errands* errands) {
  stop_.store(0, std::memory_order_relaxed);
  helpers_begun_.store(0, std::memory_order_relaxed);
  for (auto& id : threads_of_) id.store(0, std::memory_order_relaxed);
  waits_ = false;  // of a batch that was late when the threads before these ended
  cpus_ = cpus.size() > kHelpersMax ? cpus.first(kHelpersMax) : cpus;
  turn_at_start_ = turn_.load(std::memory_order_relaxed);
  errands_ = errands;
  if (errands_ != nullptr) errands_->UseBell(&first_bell_);
  uint32_t started = 0;
  while (started < cpus_.size() && threads_.Start(HelperBody, this) == kernel::Errno::kOk)
    ++started;
  return started;
}

void ThreadsMigrator::Stop() {
  if (errands_ != nullptr) errands_->UseBell(nullptr);
  stop_.store(1, std::memory_order_release);
  threads_.WakeAll(stop_);
  RingAll();
  for (const auto& id : threads_of_)
    if (const int32_t thread = id.load(std::memory_order_acquire); thread != 0)
      kernel_.LetHelperRun(thread);
}

void ThreadsMigrator::RingAll() {
  first_bell_.Ring();
  others_bell_.Ring();
}

void ThreadsMigrator::HelperBody(void* self) {
  static_cast<ThreadsMigrator*>(self)->Help();
}

// A batch comes before an errand.
Errands::Found ThreadsMigrator::DoOne(Errands* errands, uint32_t* seen) {
  const uint32_t turn = turn_.load(std::memory_order_acquire);
  if (turn == *seen) return errands != nullptr ? errands->DoOne() : Errands::Found::kNothing;
  *seen = turn;
  // Before the first claim: whoever sees 0 here, behind the end of a batch, knows that none of its
  // chunks is being copied.
  copying_.fetch_add(1, std::memory_order_acq_rel);
  CopyChunks(turn, From::kEnd);
  copying_.fetch_sub(1, std::memory_order_release);
  return Errands::Found::kOne;
}

void ThreadsMigrator::Help() {
  const uint32_t self = helpers_begun_.fetch_add(1);
  Errands* const errands = self == 0 ? errands_ : nullptr;
  Bell& bell = self == 0 ? first_bell_ : others_bell_;
  const bool by_kernel = copies_.MayBeByKernel(), in_kernel = by_kernel || errands != nullptr;
  if (in_kernel)
    kernel_.RunOn(cpus_[self]);
  else
    kernel_.BecomeHelper(cpus_[self]);
  Crowd crowd(kernel_);
  threads_of_[self].store(kernel_.ThreadId(), std::memory_order_release);
  // Not the turn of now: there may be a batch already.
  uint32_t seen = turn_at_start_;
  // (What the kernel copies leaves more time between batches, and it takes one to wake up again.)
  const int spins_most = by_kernel ? 20 * kSpinsBeforeSleep : kSpinsBeforeSleep;
  for (int spins = 0;;) {
    const uint32_t rung = bell.rung();  // before the look at all that it rings for
    if (stop_.load(std::memory_order_acquire) != 0) break;
    const Errands::Found found = DoOne(errands, &seen);
    if (found == Errands::Found::kOne) {
      spins = 0;
      LetSignalIn();
      if (!in_kernel || !crowd.IsCrowded()) continue;
      Rest();
    } else if (found == Errands::Found::kNothing && ++spins < spins_most) {
      Pause();
      continue;
    } else {
      spins = 0;
      // A handler that runs here may touch a hole and wait for the remap: this helper has claimed
      // nothing, so the batch goes on without it.
      threads_.AllowIdentitySignal(true);
      bell.Sleep(rung);
      threads_.AllowIdentitySignal(false);
    }
    crowd.Begin();
  }
  cpu_ns_.fetch_add(kernel_.ThreadCpuNs());
}

// One that has waited: while batch follows batch there may be no sleep. (Nothing is claimed here.)
void ThreadsMigrator::LetSignalIn() {
  threads_.AllowIdentitySignal(true);
  threads_.AllowIdentitySignal(false);
}

// Whatever comes meanwhile.
void ThreadsMigrator::Rest() {
  threads_.AllowIdentitySignal(true);
  threads_.Wait(stop_, 0, Crowd::kRestNs);
  threads_.AllowIdentitySignal(false);
}

Answer ThreadsMigrator::Submit(std::span<Folio> folios) {
  if (folios.empty()) return Answer::kTooSmall;
  if (waits_ || HoldsAddresses()) return Answer::kBusy;
  const CopyCall copy = copies_.For(folios);
  const uint64_t chunk_bytes = copies_.IsByKernel(copy) ? kKernelChunkBytes : kChunkBytes;
  const uint64_t chunks = (BytesOf(folios) + chunk_bytes - 1) / chunk_bytes;
  if (chunks > kChunksMax) return Answer::kUnsupported;
  const uint32_t turn = turn_.load(std::memory_order_relaxed) + 1;
  folios_ = folios;
  copy_ = copy;
  chunk_bytes_ = chunk_bytes;
  any_failed_.store(false, std::memory_order_relaxed);
  waits_ = true;
  chunk_count_ = chunks;
  for (uint64_t i = 0; i < chunk_count_; ++i) done_[i].store(false, std::memory_order_relaxed);
  unclaimed_.store(Unclaimed{turn, 0, static_cast<uint16_t>(chunks)}.word(),
                   std::memory_order_release);
  turn_.store(turn, std::memory_order_release);
  RingAll();
  return Answer::kTaken;
}

bool ThreadsMigrator::Poll(uint64_t deadline_ns) {
  CopyChunks(turn_.load(std::memory_order_relaxed), From::kBeginning);
  uint64_t spins = 0;
  for (uint64_t chunk = 0; chunk < chunk_count_; ++chunk) {
    for (; !IsDone(chunk) && spins < kPatienceSpins; ++spins) Pause();
    if (IsDone(chunk)) continue;
    if (copies_.IsByKernel(copy_)) return AwaitHelpers(deadline_ns);
    CopyChunk(chunk);
    ++late_chunks_;
  }
  End();
  return true;
}

bool ThreadsMigrator::AwaitHelpers(uint64_t deadline_ns) {
  constexpr uint64_t kNapNs = 50'000;
  const uint64_t soon_ns = kernel_.NowNs() + kHelpersPatienceNs;
  const uint64_t end_ns = deadline_ns < soon_ns ? deadline_ns : soon_ns;
  const threads::Word nothing = 0;
  while (HoldsAddresses())
    if (kernel_.NowNs() < end_ns)
      threads_.Wait(nothing, 0, kNapNs);
    else
      return false;
  End();
  return true;
}

void ThreadsMigrator::End() {
  const bool copied = !any_failed_.load(std::memory_order_acquire);
  for (Folio& folio : folios_) folio.copied = copied;
  waits_ = false;
}

void ThreadsMigrator::CopyChunks(uint32_t turn, From from) {
  for (;;) {
    uint64_t seen = unclaimed_.load(std::memory_order_acquire), chunk;
    Unclaimed left;
    do {
      left = Unclaimed::Of(seen);
      if (left.turn != turn || left.first == left.end) return;
      chunk = from == From::kEnd ? --left.end : left.first++;
    } while (!unclaimed_.compare_exchange_weak(seen, left.word(), std::memory_order_acq_rel));
    CopyChunk(chunk);
    done_[chunk].store(true, std::memory_order_release);
  }
}

void ThreadsMigrator::CopyChunk(uint64_t chunk) {
  const uint64_t folio_bytes = folios_[0].length_bytes;
  uint64_t at = chunk * chunk_bytes_;
  const uint64_t total = BytesOf(folios_);
  const uint64_t end = at + chunk_bytes_ < total ? at + chunk_bytes_ : total;
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
    if (!copy_(folio.target + offset, folio.source + offset, length))
      any_failed_.store(true, std::memory_order_release);
    at += length;
  }
}

}  // namespace drover::migrators
