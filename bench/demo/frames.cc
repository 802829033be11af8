#include "frames.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

#include "failure.h"

namespace drover::demo {
namespace {

// A word of /proc/PID/pagemap.
constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kFrameMask = (uint64_t{1} << 55) - 1;
constexpr uint64_t kPageBytes = 4096;
constexpr size_t kChunkWords = 1u << 16;

struct Mapping {
  uint64_t first_page, end_page;
};

std::vector<Mapping> PrivateAnonymousMappings(pid_t pid) {
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  std::vector<Mapping> mappings;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    uint64_t first = 0, end = 0, inode = 0;
    char dash = 0;
    std::string rights, offset, device, name;
    words >> std::hex >> first >> dash >> end >> rights >> offset >> device >> std::dec >> inode;
    words >> name;
    // The kernel's own ([vvar], [vsyscall]) have no inode either.
    const bool kernels = name.starts_with("[v");
    if (rights.ends_with('p') && inode == 0 && !kernels)
      mappings.push_back({first / kPageBytes, end / kPageBytes});
  }
  return mappings;
}

void AppendFrames(int pagemap, const Mapping& mapping, std::vector<PageFrame>* frames) {
  std::vector<uint64_t> words(kChunkWords);
  for (uint64_t page = mapping.first_page; page < mapping.end_page;) {
    const size_t wanted = std::min<uint64_t>(kChunkWords, mapping.end_page - page);
    const ssize_t got = pread(pagemap, words.data(), wanted * sizeof words[0],
                              static_cast<off_t>(page * sizeof words[0]));
    if (got <= 0) return;  // unmapped since
    const size_t count = static_cast<size_t>(got) / sizeof words[0];
    for (size_t i = 0; i < count; ++i)
      if ((words[i] & kPresent) != 0) frames->push_back({page + i, words[i] & kFrameMask});
    page += count;
  }
}

}  // namespace

std::vector<PageFrame> ReadFrames(pid_t pid) {
  const int pagemap = open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC);
  if (pagemap < 0) throw Failure(fmt::format("/proc/{}/pagemap cannot be read", pid));
  std::vector<PageFrame> frames;
  for (const Mapping& mapping : PrivateAnonymousMappings(pid))
    AppendFrames(pagemap, mapping, &frames);
  close(pagemap);
  const bool hidden = std::all_of(frames.begin(), frames.end(),
                                  [](const PageFrame& one) { return one.frame == 0; });
  if (hidden)
    throw Failure("the kernel does not show page frames here; this needs CAP_SYS_ADMIN",
                  kExitNotPermitted);
  return frames;
}

std::optional<double> ShareChanged(const std::vector<PageFrame>& before,
                                   const std::vector<PageFrame>& after) {
  uint64_t in_both = 0, changed = 0;
  auto old = before.begin();
  for (const PageFrame& now : after) {
    while (old != before.end() && old->page < now.page) ++old;
    if (old == before.end()) break;
    if (old->page != now.page) continue;
    ++in_both;
    changed += old->frame != now.frame;
  }
  if (in_both == 0) return std::nullopt;
  return static_cast<double>(changed) / static_cast<double>(in_both);
}

}  // namespace drover::demo
