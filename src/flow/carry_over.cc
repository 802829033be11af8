#include "flow/carry_over.h"

#include "flow/checksum.h"
#include "flow/flow.h"
#include "flow/table.h"

namespace drover::flow {
namespace {

// Copies one batch; of the page in question it takes the kept original instead, if what was
// isolated is still what was once copied.
class Carrier final : public migrators::Migrator {
 public:
  Carrier(migrators::CopyFunction copy, KeptPage& page, LateWrite* late)
      : copy_(copy), page_(page), late_(late) {}
  // Where the live page comes to be isolated.
  void Expect(uint64_t source) { source_ = source; }

  migrators::Answer Submit(std::span<migrators::Folio> folios) override {
    for (migrators::Folio& folio : folios) {
      copy_(folio.target, folio.source, folio.length_bytes);
      if (source_ >= folio.source && source_ < folio.source + folio.length_bytes)
        Carry(folio.target + (source_ - folio.source));
      folio.copied = true;
    }
    return migrators::Answer::kTaken;
  }
  bool Poll(uint64_t) override { return true; }
  bool carried() const { return carried_; }

 private:
  void Carry(uint64_t target) {
    if (ChecksumOfPage(source_) != page_.checksum) return;
    const auto* before = reinterpret_cast<const uint8_t*>(source_);
    const auto* after = reinterpret_cast<const uint8_t*>(page_.original);
    copy_(target, page_.original, kPageBytes);
    for (uint64_t i = 0; i < kPageBytes; ++i) {
      if (before[i] == after[i]) continue;
      if (late_->bytes++ == 0) late_->address = page_.live + i;
    }
    page_.checksum = ChecksumOfPage(target);
    carried_ = true;
  }

  migrators::CopyFunction copy_;
  KeptPage& page_;
  LateWrite* late_;
  uint64_t source_ = 0;
  bool carried_ = false;
};

// The page by itself, or the huge page that it is a part of.
PageState MoveAround(Engine& engine, Carrier& carrier, uint64_t page, bool huge, Node target) {
  const Range live =
      huge ? Range{RoundDown(page, kHugeBytes), kHugeBytes} : Range{page, kPageBytes};
  if (engine.IsOwn(live)) return PageState::kRefused;
  FillTable(engine, OwnPlaceFor(engine, live, huge, target, true), [](uint64_t) { return true; });
  carrier.Expect(engine.batch.area + (page - live.start));
  (void)MoveBatch(engine);
  return engine.batch.state[(page - live.start) / kPageBytes];
}

}  // namespace

LateWrite CarryOver(Engine& engine, KeptPage& page, bool huge, Node target) {
  LateWrite late{.address = page.live, .bytes = 0, .fate = LateFate::kConflict};
  Carrier carrier(engine.copy.small, page, &late);
  Verifier* const verifier = engine.verifier;
  engine.instead = &carrier;
  engine.verifier = nullptr;  // its originals are the live page's, and are freed at once
  PageState state = PageState::kRefused;
  for (const bool as_huge : {huge, !huge}) {
    if (engine.result->own_path_trouble != Trouble::kNone) break;
    state = MoveAround(engine, carrier, page.live, as_huge, target);
    if (state != PageState::kRefused && state != PageState::kWanted) break;
  }
  engine.instead = nullptr;
  engine.verifier = verifier;
  if (state == PageState::kWithdrawn || state == PageState::kDropped) late.fate = LateFate::kGone;
  if (state == PageState::kRemapped && carrier.carried()) late.fate = LateFate::kCarriedOver;
  return late;
}

}  // namespace drover::flow
