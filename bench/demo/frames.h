// Which page frame is behind each page of a process, read from outside, as root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace drover::demo {

struct PageFrame {
  uint64_t page;  // address / 4096
  uint64_t frame;
};

// The present pages of all private anonymous mappings, rising by address.
std::vector<PageFrame> ReadFrames(pid_t pid);

// Over the pages that are in both: the share with another frame; nullopt: there are none.
std::optional<double> ShareChanged(const std::vector<PageFrame>& before,
                                   const std::vector<PageFrame>& after);

}  // namespace drover::demo
