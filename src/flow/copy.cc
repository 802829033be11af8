#include "flow/events.h"
#include "flow/phases.h"
#include "flow/precopy.h"
#include "flow/runs.h"
#include "flow/targets.h"

namespace drover::flow {
namespace {

using migrators::Answer;
using migrators::Folio;

// The isolated folios. A huge page of which a part was dropped or has not come out is no folio any
// more: its isolated pages are copied here and now.
uint64_t ListFolios(Engine& engine) {
  const Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  const migrators::CopyFunction copy = engine.copy.For(batch.live.length);
  uint64_t count = 0;
  for (uint64_t first = 0; first < batch.page_count; first += step) {
    const uint64_t source = batch.area + first * kPageBytes;
    const uint64_t target = batch.pool + first * kPageBytes;
    if (RunEnd(batch.state, first, first + step, PageState::kIsolated) == first + step) {
      engine.folios[count++] = {source, target, step * kPageBytes, false, batch.fills};
      continue;
    }
    for (uint64_t i = 0; batch.huge && i < step; ++i)
      if (batch.state[first + i] == PageState::kIsolated)
        copy(target + i * kPageBytes, source + i * kPageBytes, kPageBytes);
  }
  return count;
}

uint64_t PageOf(const Batch& batch, const Folio& folio) {
  return (folio.source - batch.area) / kPageBytes;
}

EngineTally& TallyOf(Engine& engine, const Slot& slot) {
  return engine.result->engines[static_cast<uint32_t>(slot.holder.kind)];
}

// Offers folios [first, first + count) of the batch to the engine of a slot.
bool Takes(Engine& engine, Slot& slot, std::span<const Folio> part, uint64_t first) {
  slot.count = 0;
  Holder& holder = slot.holder;
  const auto reason = static_cast<uint32_t>(engine.job->reason);
  const uint64_t batch_bytes = engine.batch.live.length;
  // (The place may be another plugin's by now.)
  const migrators::Spec spec{.kind = holder.kind};
  if (holder.entered || !engine.registry.Knows({&spec, 1}, engine.job->plugins) ||
      !slot.terms.Allow(reason, batch_bytes) ||
      !engine.registry.Enter(holder.kind, reason, batch_bytes))
    return false;
  holder.entered = true;
  // (A plugin may have come, or have been changed for another one, since the job began.)
  if (migrators::IsPlugin(holder.kind)) holder.engine = engine.registry.PluginAt(holder.kind);
  for (uint64_t i = 0; i < part.size(); ++i) slot.folios[i] = part[i];
  EngineTally& tally = TallyOf(engine, slot);
  if (holder.engine->Submit({slot.folios, part.size()}) != Answer::kTaken) {
    ++tally.refused;
    (void)Settle(engine, holder);
    return false;
  }
  ++tally.batches;
  slot.first = first;
  slot.count = part.size();
  return true;
}

// In equal parts to those who take them; what one refuses falls to the ones behind it.
void ShareOut(Engine& engine, std::span<const Folio> folios) {
  uint64_t given = 0;
  for (uint32_t i = 0; i < engine.slot_count; ++i) {
    const uint64_t left = folios.size() - given, part = left / (engine.slot_count - i);
    engine.slots[i].count = 0;
    if (part > 0 && Takes(engine, engine.slots[i], folios.subspan(given, part), given))
      given += part;
  }
}

// These have no target: the originals go back.
void RefuseSides(Batch& batch, uint64_t first, uint64_t count, Why why) {
  SetRun(batch.side, first, first + count, Side::kNone);
  SetRun(batch.why, first, first + count, why);
}

// While a late engine has the targets they are used for nothing else: these folios get others, or
// none, and then the originals go back.
void Retarget(Engine& engine, std::span<Folio> folios) {
  Batch& batch = engine.batch;
  const uint64_t step = batch.folio_pages();
  if (batch.other_pool != 0) {
    ReadyPool(engine, batch.other_pool);
    batch.has_others = true;
  }
  for (uint64_t k = 0; k < folios.size();) {
    const uint64_t first = PageOf(batch, folios[k]);
    uint64_t end = first;  // of a run without gaps
    for (; k < folios.size() && PageOf(batch, folios[k]) == end; ++k)
      for (const uint64_t after = end + step; end < after; ++end) batch.side[end] = Side::kOther;
    if (batch.other_pool == 0)
      RefuseSides(batch, first, end - first, Why::kNoTargetMemory);
    else
      FillTargets(engine, batch.other_pool, first, end - first, RefuseSides);
  }
  for (Folio& folio : folios) {
    const uint64_t first = PageOf(batch, folio);
    folio.target = batch.TargetOf(first);
    folio.absent = false;
    engine.result->pages_retargeted += batch.side[first] == Side::kOther ? step : 0;
  }
}

// Takes the marks over. Whoever is late gets no other part before it has answered.
void Gather(Engine& engine, Slot& slot, std::span<Folio> folios) {
  if (slot.count == 0) return;
  uint64_t patience_ns = kMigratorPatienceNs + engine.batch.page_count * kMigratorPatiencePerPageNs;
  // (The mover has done its own part by the time that it waits for others of these.)
  const uint64_t budget_ns = engine.job->max_stall_ns;
  if (slot.holder.kind == migrators::Kind::kThreads && budget_ns != 0 && budget_ns < patience_ns)
    patience_ns = budget_ns;
  const uint64_t deadline_ns = engine.kernel.NowNs() + patience_ns;
  Batch& batch = engine.batch;
  EngineTally& tally = TallyOf(engine, slot);
  const std::span mine = folios.subspan(slot.first, slot.count);
  slot.holder.late = !slot.holder.engine->Poll(deadline_ns);
  if (slot.holder.late) {
    ++tally.late;
    tally.fallen_back += slot.count * batch.folio_pages();
    if (RuleHolds(Rule::kQuarantine)) Retarget(engine, mine);
    return;
  }
  bool all = true;
  for (uint64_t i = 0; i < slot.count; ++i) {
    mine[i].copied = slot.folios[i].copied;
    if (!mine[i].copied) tally.fallen_back += batch.folio_pages();
    all = all && mine[i].copied;
    const uint64_t first = PageOf(batch, mine[i]);
    if (mine[i].copied)
      SetRun(batch.copied_by, first, first + batch.folio_pages(),
             static_cast<uint8_t>(slot.holder.kind));
  }
  if (!all) ++tally.failed;
  (void)Settle(engine, slot.holder);
}

// The engines that work on this thread come first, while the others are at it by themselves; then
// those that may have no answer at all.
void GatherAll(Engine& engine, std::span<Folio> folios) {
  const auto rank_of = [](migrators::Kind kind) {
    if (kind == migrators::Kind::kFault) return 2;
    return kind == migrators::Kind::kChannels || migrators::IsPlugin(kind) ? 1 : 0;
  };
  for (int rank = 0; rank <= 2; ++rank)
    for (uint32_t i = 0; i < engine.slot_count; ++i)
      if (rank_of(engine.slots[i].holder.kind) == rank) Gather(engine, engine.slots[i], folios);
}

// By one engine, for a batch that is not to be shared.
void CopyInstead(Engine& engine, std::span<Folio> folios) {
  if (engine.instead->Submit(folios) == Answer::kTaken)
    (void)engine.instead->Poll(engine.kernel.NowNs() + kMigratorPatienceNs);
}

// Of a batch that was copied ahead of its window.
void CopyWhatChanged(Engine& engine, std::span<Folio> folios) {
  const uint64_t pages = migrators::BytesOf(folios) / kPageBytes;
  engine.batch.changed = CopyChanged(folios, engine.copy.small);
  engine.write_rate.Note(engine.batch.changed, pages);
  engine.result->pages_precopied += pages;
  engine.result->pages_changed += engine.batch.changed;
}

bool IsLeft(const Batch& batch, const Folio& folio) {
  return !folio.copied && batch.side[PageOf(batch, folio)] != Side::kNone;
}

// One by itself, `tries_left` times in a window. A target that cannot be made is none: then the
// original goes back.
void CopyOne(Engine& engine, Folio& folio, uint32_t* tries_left) {
  constexpr uint64_t kNapNs = 20'000;
  Batch& batch = engine.batch;
  const migrators::CopyCall copy = engine.copy.For({&folio, 1});
  bool changing = true;  // (what has been so far the first look at the events ends)
  for (bool again = true; again;) {
    folio.copied = copy(folio.target, folio.source, folio.length_bytes);
    if (folio.copied) return;
    again = changing && *tries_left > 0;
    engine.lock.Lock();
    Drain(engine);
    engine.lock.Unlock();
    changing = IsChanging(engine);
    if (*tries_left > 0) --*tries_left;
    const threads::Word nothing = 0;
    if (changing) engine.threads.Wait(nothing, 0, kNapNs);
  }
  RefuseSides(batch, PageOf(batch, folio), batch.folio_pages(),
              changing ? Why::kUnstable : Why::kNoTargetMemory);
}

// By the CPU, what nobody has copied: in runs, and then what those have left.
void CopyLeft(Engine& engine, std::span<Folio> folios) {
  const Batch& batch = engine.batch;
  bool all_copied = true;
  for (const Folio& folio : folios) all_copied &= folio.copied;
  if (all_copied) return;
  for (uint64_t first = 0, end; first < folios.size(); first = end) {
    for (end = first; end < folios.size() && IsLeft(batch, folios[end]) &&
                      folios[end].absent == folios[first].absent;
         ++end) {
    }
    const auto run = folios.subspan(first, end - first);
    if (run.empty())
      ++end;
    else
      CopyInRuns(run, engine.copy.For(run));
  }
  uint32_t tries_left = kAgainsPerWindowMax;
  for (Folio& folio : folios)
    if (IsLeft(batch, folio)) CopyOne(engine, folio, &tries_left);
}

// Whether what was made has come to its node.
void CheckAllFilled(Engine& engine, std::span<const Folio> folios) {
  if (!ChecksNodes(engine)) return;
  const Batch& batch = engine.batch;
  for (uint64_t k = 0; k < folios.size();) {
    const uint64_t first = PageOf(batch, folios[k]);
    uint64_t end = first;
    for (; k < folios.size() && PageOf(batch, folios[k]) == end && batch.side[end] == Side::kFirst;
         ++k)
      ++end;
    if (end > first)
      CheckFilled(engine, first, end - first, RefuseSides);
    else
      ++k;
  }
}

}  // namespace

void Copy(Engine& engine) {
  const PhaseTimer timer(engine, Phase::kCopy);
  // An application's discard of an isolated page only changes its state: the copy is then wasted.
  engine.lock.Lock();
  const std::span folios(engine.folios, ListFolios(engine));
  engine.lock.Unlock();
  if (folios.empty()) return;
  if (engine.batch.precopied) {
    CopyWhatChanged(engine, folios);
  } else if (engine.instead != nullptr) {
    CopyInstead(engine, folios);
  } else if (engine.batch.for_engines() && !engine.batch.alone) {
    // (The second areas are never given away: nobody would know when they are let go of.)
    ShareOut(engine, folios);
    GatherAll(engine, folios);
  }
  if (RuleHolds(Rule::kCopyUnmarked)) CopyLeft(engine, folios);
  if (engine.batch.fills) CheckAllFilled(engine, folios);
}

void TallyCopies(Engine& engine) {
  const Batch& batch = engine.batch;
  const uint64_t count = batch.page_count;
  const auto next = [&](uint64_t at) {
    return FindNext(batch.state, at, count, PageState::kRemapped);
  };
  for (uint64_t i = next(0), end; i < count; i = next(end)) {
    const uint8_t by = batch.copied_by[i];
    end = RunEnd(batch.copied_by, i, RunEnd(batch.state, i, count, PageState::kRemapped), by);
    uint64_t& pages =
        by == Batch::kByCpu ? engine.result->pages_by_cpu : engine.result->engines[by].pages;
    pages += end - i;
  }
  for (uint32_t i = 0; i < engine.slot_count; ++i) {
    const auto kind = engine.slots[i].holder.kind;
    const EngineTally& now = engine.result->engines[static_cast<uint32_t>(kind)];
    EngineTally& counted = engine.counted[static_cast<uint32_t>(kind)];
    engine.registry.Count(kind, now - counted);
    counted = now;
  }
}

}  // namespace drover::flow
