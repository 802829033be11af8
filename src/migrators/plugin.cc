#include "migrators/plugin.h"

namespace drover::migrators {
namespace {

// What the plugin's numbers mean; anything else is a refusal.
Answer AnswerOf(int answer) {
  switch (answer) {
    case DROVER_TAKEN:
      return Answer::kTaken;
    case DROVER_BUSY:
      return Answer::kBusy;
    case DROVER_TOO_SMALL:
      return Answer::kTooSmall;
    default:
      return Answer::kUnsupported;
  }
}

}  // namespace

bool Plugin::CanCopy(std::span<Folio> folios) const {
  if (folios.size() > kFoliosMax) return false;
  if (calls_.folios_max != 0 && folios.size() > calls_.folios_max) return false;
  const uint64_t alignment = calls_.alignment_bytes != 0 ? calls_.alignment_bytes : 1;
  for (const Folio& folio : folios) {
    if (((folio.source | folio.target) & (alignment - 1)) != 0) return false;
    if (calls_.folio_bytes_max != 0 && folio.length_bytes > calls_.folio_bytes_max) return false;
  }
  return true;
}

Answer Plugin::Submit(std::span<Folio> folios) {
  if (has_list_) return Answer::kBusy;
  if (folios.empty()) return Answer::kTooSmall;
  if (!CanCopy(folios)) return Answer::kUnsupported;
  for (uint64_t i = 0; i < folios.size(); ++i)
    list_[i] = {folios[i].source, folios[i].target, folios[i].length_bytes, 0};
  const Answer answer = AnswerOf(calls_.submit(engine_, list_, folios.size()));
  has_list_ = answer == Answer::kTaken;
  if (has_list_) folios_ = folios;
  return answer;
}

bool Plugin::Poll(uint64_t deadline_ns) {
  if (!has_list_) return true;
  if (calls_.poll(engine_, deadline_ns) == 0) return false;
  for (uint64_t i = 0; i < folios_.size(); ++i) folios_[i].copied = list_[i].copied == 1;
  folios_ = {};
  has_list_ = false;
  return true;
}

drover_migrator_report Plugin::Report() const {
  drover_migrator_report report = {};
  report.size_bytes = sizeof report;
  report.channels = 1;
  if (calls_.report != nullptr) calls_.report(engine_, &report);
  return report;
}

}  // namespace drover::migrators
