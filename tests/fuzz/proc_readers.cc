// The readers of /proc and /sys: the first byte chooses one, the rest is its text. What reads
// several files gets them one behind the other, with a byte 0xff between.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "cli/warnings.h"
#include "control/stat_text.h"
#include "flow/headroom.h"
#include "flow/own_path.h"
#include "flow/stand_back.h"
#include "fuzz/fuzz.h"
#include "kernel/failing_kernel.h"
#include "kernel/linux_kernel.h"
#include "kernel/maps_text.h"
#include "topology/helpers.h"
#include "topology/machine.h"
#include "topology/nodes.h"
#include "topology/process_status.h"

namespace drover::fuzz {
namespace {

constexpr char kNextFile = '\xff';

// The text as an open file that stands at its begin.
class Memory {
 public:
  explicit Memory(std::string_view text) : file_(memfd_create("fuzz", MFD_CLOEXEC)) {
    Must(pwrite(file_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()), "memfd");
  }
  ~Memory() { close(file_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  int file() const { return file_; }

 private:
  int file_;
};

// What the readers take for "/".
class Root {
 public:
  const std::string& path() const { return folder_.path(); }
  void Write(const std::string& file, const std::string& text) const {
    const std::filesystem::path whole = path() + "/" + file;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary | std::ios::trunc) << text;
  }

 private:
  Folder folder_;
};

const Root& TheRoot() {
  static const Root root;
  return root;
}

void Maps(Input& input) {
  const std::string_view text = input.Rest();
  const Memory file(text);
  uint64_t found = 0;
  for (uint64_t at = 0; found <= text.size(); ++found) {
    const auto mapping = kernel::NextMappingInText(file.file(), at);
    if (!mapping.has_value()) break;
    Must(mapping->range.end() > at, "the next mapping lies behind the last one");
    at = mapping->range.end();
  }
  Must(found <= text.size(), "the mappings have an end");
}

void Smaps(Input& input) {
  const std::string_view text = input.Rest();
  for (const auto how : {kernel::Marked::kDontFork, kernel::Marked::kWipeOnFork,
                         kernel::Marked::kLocked, kernel::Marked::kKeyed}) {
    const Memory file(text);
    Range ranges[4];
    const auto count = kernel::ListMarkedInText(file.file(), how, ranges);
    if (count.has_value()) Must(*count <= text.size(), "marked mappings have a line each");
  }
}

// The page table of a process, and the search in it that kernels before 6.7 need.
void Pagemap(Input& input) {
  const uint64_t start = input.Byte() * kPageBytes, required = input.Byte(),
                 forbidden = input.Byte();
  const Memory file(input.Rest());
  kernel::LinuxKernel kernel;
  kernel.descriptors().pagemap = file.file();
  std::vector<kernel::PageEntry> entries(64);
  (void)kernel.ReadEntries(start, entries);
  std::array<kernel::PageRegion, 3> regions;
  uint64_t walk_end = 0;
  for (Range left{start, 600 * kPageBytes}; !left.empty();) {
    const auto count =
        kernel.Scan(left, required, forbidden, kernel::kPageFile, regions, &walk_end);
    if (!count.has_value()) break;
    Must(*count <= regions.size(), "regions fit");
    for (uint64_t i = 0; i < *count; ++i)
      Must(regions[i].start >= left.start && regions[i].start < regions[i].end &&
               regions[i].end <= left.end(),
           "a region lies in its range");
    Must(walk_end > left.start && walk_end <= left.end(), "a walk goes on");
    left = {walk_end, left.end() - walk_end};
  }
}

void Status(Input& input) {
  const Root& root = TheRoot();
  root.Write("proc/7/status", input.Until(kNextFile));
  root.Write("proc/7/numa_maps", input.Until(kNextFile));
  root.Write("proc/sys/kernel/numa_balancing", input.Until(kNextFile));
  (void)topology::StatusWord(root.path() + "/proc/7", "VmPeak:");
  (void)topology::AllowedCpus(root.path(), 7);
  flow::Placement placement;
  placement.target_of[0] = 1;
  for (const std::string& line : cli::WarningsFor(root.path(), 7, placement)) MustBePrintable(line);
}

void Nodes(Input& input) {
  const Root& root = TheRoot();
  const std::string base = "sys/devices/system/node/";
  const std::string memory = input.Until(kNextFile);
  std::vector<int> ids;
  // Thousands of nodes are thousands of files to open: nothing new, and slow.
  if (topology::ParseIdList(memory, &ids) && ids.size() > 64) return;
  root.Write(base + "has_memory", memory);
  root.Write(base + "online", input.Until(kNextFile));
  root.Write(base + "node0/meminfo", input.Until(kNextFile));
  const topology::Nodes nodes = topology::ReadNodes(root.path());
  Must(!nodes.with_memory.empty() && !nodes.all.empty(), "there is always a node");
  Must(nodes.id_limit() >= 1, "node numbers are no negative ones");
  MustBePrintable(nodes.MemoryList());
}

void IdList(Input& input) {
  std::vector<int> ids, again;
  if (!topology::ParseIdList(std::string(input.Rest()), &ids)) return;
  Must(ids.size() <= 65536, "a list is no longer than there are numbers");
  Must(topology::ParseIdList(topology::FormatIdList(ids), &again) && again == ids,
       "a list that was written reads the same");
}

void CpuTicks(Input& input) {
  TheRoot().Write("proc/stat", std::string(input.Rest()));
  (void)topology::ReadTicks(TheRoot().path());
}

void Devices(Input& input) {
  const Root& root = TheRoot();
  root.Write("sys/class/dma/dma0chan0/device/numa_node", input.Until(kNextFile));
  root.Write("sys/class/dma/dma0chan0/type", input.Until(kNextFile));
  root.Write("sys/kernel/mm/hugepages/hugepages-2048kB/nr", "");
  Must(topology::ReadDmaEngines(root.path()).size() == 1, "one engine is there");
  Must(topology::ReadHugePageSizes(root.path()).size() == 1, "one size is there");
}

void Stat(Input& input) {
  const auto info = control::ParseStat(std::string(input.Rest()));
  if (info.has_value()) MustBePrintable(info->name);
}

// Every file holds the text that stands for it; all descriptors are one file.
class TextKernel final : public kernel::FailingKernel {
 public:
  TextKernel(kernel::Kernel& real, Input& input) : FailingKernel(real) {
    for (std::string& text : texts_) text = input.Until(kNextFile);
  }
  kernel::Result<uint64_t> ReadFile(const char* path, std::span<char> buffer) override {
    const std::string_view name = path;
    const size_t which = name.ends_with("/status") || name.ends_with("/cgroup")      ? 0
                         : name.ends_with("/mountinfo") || name.ends_with("version") ? 1
                         : name.contains("/fdinfo/") || name.ends_with("/zoneinfo")  ? 2
                                                                                     : 3;
    const size_t bytes = std::min(texts_[which].size(), buffer.size());
    std::copy_n(texts_[which].data(), bytes, buffer.data());
    return bytes;
  }
  kernel::Errno VisitDescriptors(Visit visit, void* context) override {
    visit(context, 5, texts_[3]);
    return kernel::Errno::kOk;
  }
  kernel::Result<uint64_t> ListThreads(std::span<int32_t>) override { return 0; }

 private:
  std::array<std::string, 4> texts_;
};

void CoreTexts(Input& input) {
  kernel::LinuxKernel real;
  TextKernel kernel(real, input);
  (void)flow::ReadVersion(kernel);
  bool self_test = false;
  (void)flow::CheckKernel(kernel, &self_test);
  (void)flow::FreeBelowGroupLimits(kernel, 0);
  (void)flow::FreeOnNode(kernel, {0});
  (void)flow::LookAt({.kernel = kernel});
}

constexpr void (*kReaders[])(Input&) = {Maps,   Smaps,    Pagemap, Status, Nodes,
                                        IdList, CpuTicks, Devices, Stat,   CoreTexts};

}  // namespace
}  // namespace drover::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace drover::fuzz;
  Input input(data, size);
  // A letter, so that inputs can be read: 'a' is the first.
  const auto which = static_cast<size_t>(input.Byte() - 'a');
  if (which < std::size(kReaders)) kReaders[which](input);
  return 0;
}
