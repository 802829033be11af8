#include "flow/control_blocks.h"

#include "flow/rules.h"
#include "flow/text.h"

namespace drover::flow {
namespace {
constexpr uint64_t kAroundBytes = 16 << 10;  // where libc does not tell the size
}  // namespace

void ControlBlocks::Add(uint64_t start, uint64_t length) {
  const uint64_t first = RoundDown(start, kPageBytes);
  const uint64_t last = RoundDown(start + length - 1, kPageBytes);
  blocks_[count_++] = {first, last};
}

void ControlBlocks::AddBlock(uint64_t block, const ControlBlockLayout& layout) {
  Add(block, layout.block_bytes);
  if (layout.rseq_bytes > 0)
    Add(block + static_cast<uint64_t>(layout.rseq_offset), layout.rseq_bytes);
}

// Insertion sort: threads are listed in the order of their making, so it is nearly sorted.
void ControlBlocks::Sort() {
  for (uint32_t i = 1; i < count_; ++i) {
    const Block block = blocks_[i];
    uint32_t k = i;
    for (; k > 0 && blocks_[k - 1].first > block.first; --k) blocks_[k] = blocks_[k - 1];
    blocks_[k] = block;
  }
}

kernel::Errno ControlBlocks::Find(kernel::Kernel& kernel, const ControlBlockLayout& layout,
                                  YoungThreads* young) {
  const auto listed = kernel.ListThreads(threads_);
  if (!listed.has_value()) return listed.error();
  if (*listed > kControlBlocksMax) return kernel::Errno::kNoMemory;
  count_ = 0;
  now_ ^= 1;
  seen_count_[now_] = 0;
  for (uint64_t i = 0; i < *listed; ++i) {
    auto head = kernel.RobustListOf(threads_[i]);
    if (!head.has_value() && head.error() == kernel::Errno::kNoProcess) continue;  // has ended
    if (!head.has_value()) return head.error();
    if (*head == 0 && RuleHolds(Rule::kEndingThreads)) head = HeadBefore(threads_[i]);
    if (*head == 0) continue;
    seen_[now_][seen_count_[now_]++] = {threads_[i], *head};
    if (!layout.known) {
      Add(*head - kAroundBytes, 2 * kAroundBytes);
      continue;
    }
    const uint64_t block = *head - layout.head_offset;
    AddBlock(block, layout);
    for (uint32_t k = 0; young != nullptr && k < kYoungThreadsMax; ++k)
      if (young->blocks[k].load(std::memory_order_acquire) == block)
        young->blocks[k].store(0, std::memory_order_relaxed);
  }
  for (uint32_t k = 0; young != nullptr && RuleHolds(Rule::kYoungThreads) && k < kYoungThreadsMax;
       ++k)
    if (const uint64_t block = young->blocks[k].load(std::memory_order_acquire); block != 0)
      AddBlock(block, layout);
  Sort();
  return kernel::Errno::kOk;
}

uint64_t ControlBlocks::HeadBefore(int32_t thread) const {
  const uint32_t before = now_ ^ 1;
  for (uint32_t i = 0; i < seen_count_[before]; ++i)
    if (seen_[before][i].thread == thread) return seen_[before][i].head;
  return 0;
}

bool ControlBlocks::IsStranger(kernel::Kernel& kernel, int32_t pid, int32_t thread) {
  const auto head = kernel.RobustListOf(thread);
  if (!head.has_value() || *head != 0) return false;
  Path path;
  path.Add("/proc/");
  if (pid == 0)
    path.Add("self");
  else
    path.AddNumber(static_cast<uint64_t>(pid), 10);
  path.Add("/task/").AddNumber(static_cast<uint64_t>(thread), 10).Add("/comm");
  char name[32];
  const auto got = kernel.ReadFile(path.c_str(), name);
  return got.has_value() && !std::string_view(name, *got).starts_with("iou-");
}

bool ControlBlocks::HoldsAny(Range range) const {
  uint32_t low = 0, high = count_;  // the first block that starts behind the range
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (blocks_[middle].first < range.end())
      low = middle + 1;
    else
      high = middle;
  }
  // Blocks are short (a few pages) and may overlap: look back over those that could reach here.
  for (uint32_t i = low; i > 0 && blocks_[i - 1].first + 2 * kAroundBytes >= range.start; --i)
    if (blocks_[i - 1].last >= range.start) return true;
  return false;
}

}  // namespace drover::flow
