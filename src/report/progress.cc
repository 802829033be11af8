#include "report/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace drover::report {

double ShareDone(uint64_t pages_done, uint64_t pages_estimated) {
  if (pages_estimated == 0) return 0;
  return std::min(1.0, static_cast<double>(pages_done) / static_cast<double>(pages_estimated));
}

ProgressLine::ProgressLine()
    : terminal_(isatty(STDERR_FILENO) == 1), begin_(std::chrono::steady_clock::now()) {}

ProgressLine::~ProgressLine() {
  if (shown_) fmt::print(stderr, "\r{:79}\r", "");
}

void ProgressLine::Show(uint64_t pages_done, uint64_t pages_estimated) {
  if (!terminal_) return;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  const double bytes = static_cast<double>(pages_done) * 4096;
  const double share = ShareDone(pages_done, pages_estimated);
  const double left = share > 0 ? seconds * (1 - share) / share : 0;
  fmt::print(stderr, "\r{:5.1f} %  {:8.1f} MB  {:6.2f} GB/s  {:.0f} s left  ", share * 100,
             bytes / 1e6, seconds > 0 ? bytes / 1e9 / seconds : 0, left);
  shown_ = true;
}

}  // namespace drover::report
