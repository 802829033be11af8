#include "app_moves.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "demo/child.h"
#include "demo/failure.h"
#include "kernel/maps_text.h"
#include "kernel/types.h"
#include "topology/nodes.h"

namespace drover::bench {
namespace {

constexpr demo::Seconds kOneMoveLimit{120};

// Of the process's private memory: whole huge pages.
std::vector<Range> HugeSlotsOf(pid_t pid) {
  std::vector<Range> slots;
  std::ifstream maps(fmt::format("/proc/{}/maps", pid));
  kernel::Mapping mapping;
  for (std::string line; std::getline(maps, line);) {
    if (!kernel::ParseMapsLine(line, &mapping) || mapping.file || mapping.shared ||
        mapping.special || !mapping.writable)
      continue;
    const uint64_t start = RoundUp(mapping.range.start, kHugeBytes);
    const uint64_t end = RoundDown(mapping.range.end(), kHugeBytes);
    for (uint64_t at = start; at < end; at += kHugeBytes) slots.push_back({at, kHugeBytes});
  }
  return slots;
}

// Nothing of it is copied then.
bool IsHugeAlready(std::ifstream& pagemap, Range slot, int flags) {
  uint64_t entry = 0, flag = 0;
  pagemap.seekg(static_cast<std::streamoff>(slot.start / kPageBytes * sizeof entry));
  if (!pagemap.read(reinterpret_cast<char*>(&entry), sizeof entry)) return false;
  constexpr uint64_t kFrame = (uint64_t{1} << 55) - 1, kThp = uint64_t{1} << 22;
  const auto at = static_cast<off_t>((entry & kFrame) * sizeof flag);
  return pread(flags, &flag, sizeof flag, at) == sizeof flag && (flag & kThp) != 0;
}

// Also where nobody has waited for it yet.
bool HasEnded(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t state = text.rfind(") ");
  return state == std::string::npos || text[state + 2] == 'Z' || text[state + 2] == 'X';
}

// By node, as the kernel counts them.
uint64_t PagesOn(pid_t pid, int node) {
  std::ifstream file(fmt::format("/proc/{}/numa_maps", pid));
  const std::string key = fmt::format("N{}=", node);
  uint64_t pages = 0;
  for (std::string word; file >> word;)
    if (word.starts_with(key)) pages += std::stoull(word.substr(key.size()));
  return pages;
}

}  // namespace

AppMoves::AppMoves(AppSide side, std::string drover, pid_t pid, double seconds)
    : side_(std::move(side)),
      drover_(std::move(drover)),
      pid_(pid),
      end_(demo::Clock::now() +
           std::chrono::duration_cast<demo::Clock::duration>(demo::Seconds(seconds))),
      thread_([this] { Run(); }) {}

void AppMoves::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

bool AppMoves::GoesOn() const {
  return !stop_ && !nothing_left_ && error_.empty() && demo::Clock::now() < end_;
}

void AppMoves::Run() {
  try {
    for (int number = 0;
         side_.name != "none" && (side_.passes == 0 || number < side_.passes) && GoesOn(); ++number)
      side_.name == "drover" ? MoveByDrover(number) : MoveByKernel(number);
  } catch (const std::exception& failure) {
    error_ = failure.what();
  }
}

void AppMoves::MoveByDrover(int number) {
  const auto nodes = topology::ReadNodes("/").with_memory;
  const std::string to =
      nodes.size() < 2 ? "same" : std::to_string(nodes[number % 2 == 0 ? 1 : 0].id);
  demo::Child child({drover_, "move", std::to_string(pid_), "--to", to, "--max-stall",
                     side_.max_stall, "--json"});
  const auto ended = child.ReadToEnd(kOneMoveLimit);
  // The program may have ended by itself meanwhile: its measurement is over then.
  constexpr int kDone = 0, kSomeStay = 3;
  if (ended.exit_code != kDone && ended.exit_code != kSomeStay) {
    nothing_left_ = HasEnded(pid_);
    if (!nothing_left_) error_ = "drover move: " + ended.errors;
    return;
  }
  bytes_ += nlohmann::json::parse(ended.output).at("bytes_moved").get<uint64_t>();
}

// migrate_pages(2) to and fro, or on one node the calls of process_madvise(2) that copy small pages
// into huge ones: once, since then they are.
void AppMoves::MoveByKernel(int number) {
  const auto nodes = topology::ReadNodes("/").with_memory;
  if (nodes.size() >= 2) {
    how_ = "migrate_pages";
    const int from = nodes[number % 2].id, to = nodes[1 - number % 2].id;
    const uint64_t pages = PagesOn(pid_, from);
    const uint64_t old_nodes = uint64_t{1} << from, new_nodes = uint64_t{1} << to;
    const long left = syscall(SYS_migrate_pages, pid_, 64, &old_nodes, &new_nodes);
    if (left < 0) throw demo::Failure("migrate_pages was refused");
    bytes_ += (pages - std::min(pages, static_cast<uint64_t>(left))) * kPageBytes;
    return;
  }
  how_ = "MADV_COLLAPSE";
  const int process = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  const int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
  std::ifstream pagemap(fmt::format("/proc/{}/pagemap", pid_), std::ios::binary);
  for (const Range slot : HugeSlotsOf(pid_)) {
    if (!GoesOn()) break;
    if (IsHugeAlready(pagemap, slot, flags)) continue;
    const iovec there{reinterpret_cast<void*>(slot.start), slot.length};
    if (syscall(SYS_process_madvise, process, &there, 1,
                static_cast<int>(kernel::Advice::kCollapse), 0) == static_cast<long>(slot.length))
      bytes_ += slot.length;
  }
  if (flags >= 0) close(flags);
  if (process >= 0) close(process);
  nothing_left_ = true;
}

}  // namespace drover::bench
