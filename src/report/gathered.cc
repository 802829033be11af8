#include "report/gathered.h"

#include <fmt/format.h>

namespace drover::report {
namespace {

struct SmallWords {
  const char* why;
  const char* hint;
};

SmallWords WordsOf(flow::WhySmall why) {
  switch (why) {
    case flow::WhySmall::kHoles:
      return {"not every page of it is there",
              "it would take memory that the program does not use"};
    case flow::WhySmall::kSeveralNodes:
      return {"its pages are on several nodes", "move them to one first"};
    case flow::WhySmall::kShared:
      return {"pages of it are shared after a fork",
              "try again after the child has ended; `--unshare` gives it memory of its own"};
    case flow::WhySmall::kPolicy:
      return {"the system's policy wants no huge pages there",
              "`--page-size huge`, or /sys/kernel/mm/transparent_hugepage/enabled"};
    case flow::WhySmall::kSwitchedOff:
      return {"huge pages are switched off there (madvise, prctl), or the kernel cannot make one",
              "the program would have to switch them on; Linux 6.1 or newer"};
    case flow::WhySmall::kInUse:
      return {"a page of it is pinned, or in use by the kernel", "try again"};
    case flow::WhySmall::kNoMemory:
      return {"no huge page to be had on its node, or within the memory limit",
              "free memory there or compact it (/proc/sys/vm/compact_memory)"};
    case flow::WhySmall::kOverBudget:
      return {"the kernel takes longer for one than --max-stall allows",
              "allow more, or --over-budget"};
    case flow::WhySmall::kRefused:
    case flow::WhySmall::kCount:
      break;
  }
  return {"refused by the kernel", "without the agent: root, and a kernel with process_madvise"};
}

}  // namespace

std::vector<StaysSmall> SmallOf(std::span<const uint64_t, flow::kWhySmallCount> slots) {
  std::vector<StaysSmall> list;
  for (uint32_t i = 0; i < flow::kWhySmallCount; ++i) {
    if (slots[i] == 0) continue;
    const SmallWords words = WordsOf(static_cast<flow::WhySmall>(i));
    list.push_back({words.why, slots[i], words.hint});
  }
  return list;
}

nlohmann::json GatheredToJson(const std::optional<Gathered>& gathered) {
  if (!gathered.has_value()) return nullptr;
  nlohmann::json small = nlohmann::json::array();
  for (const StaysSmall& stays : gathered->stay_small)
    small.push_back({{"why", stays.why}, {"slots", stays.slots}, {"hint", stays.hint}});
  return {{"pages", gathered->pages},
          {"huge_pages", gathered->pages / 512},
          {"smallest_max_stall_us", gathered->smallest_max_stall_us},
          {"stay_small", small}};
}

std::string GatheredToTable(const std::optional<Gathered>& gathered) {
  if (!gathered.has_value()) return {};
  std::string text = fmt::format("{:<18} {} made of {} small ones\n", "huge pages",
                                 gathered->pages / 512, gathered->pages);
  for (const StaysSmall& stays : gathered->stay_small)
    text += fmt::format("  {:>10}  of 2 MiB stay small: {}\n              {}\n", stays.slots,
                        stays.why, stays.hint);
  if (gathered->smallest_max_stall_us > 0)
    text += fmt::format("{:<18} --max-stall {:.0f}us would do for those\n", "",
                        gathered->smallest_max_stall_us);
  return text;
}

}  // namespace drover::report
