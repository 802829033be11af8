#include "control/stat_text.h"

#include <cstdlib>
#include <sstream>

#include "control/printable.h"

namespace drover::control {

std::optional<ProcessInfo> ParseStat(const std::string& text) {
  const size_t open_at = text.find('('), close_at = text.rfind(')');
  if (open_at == std::string::npos || close_at == std::string::npos) return std::nullopt;
  ProcessInfo info;
  info.name = text.substr(open_at + 1, close_at - open_at - 1);
  std::istringstream words(text.substr(close_at + 1));
  std::string word;
  for (int field = 3; field <= 28 && words >> word; ++field) {
    if (field == 3) info.state = word[0];
    if (field == 4) info.parent = std::atoi(word.c_str());
    if (field == 9)  // flags: PF_KTHREAD
      info.kernel_thread = (std::strtoull(word.c_str(), nullptr, 10) & 0x200000) != 0;
    if (field == 22) info.start_time_ticks = std::strtoull(word.c_str(), nullptr, 10);
    if (field == 28) info.stack_start = std::strtoull(word.c_str(), nullptr, 10);
  }
  MakePrintable(info.name);
  return info;
}

}  // namespace drover::control
