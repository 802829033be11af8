#include "app_moves.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "demo/child.h"
#include "demo/failure.h"
#include "demo/rounds.h"
#include "flow/collect.h"
#include "kernel/linux_kernel.h"
#include "topology/nodes.h"

namespace drover::bench {
namespace {

constexpr demo::Seconds kOneMoveLimit{120};

// Also where nobody has waited for it yet.
bool HasEnded(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t state = text.rfind(") ");
  return state == std::string::npos || text[state + 2] == 'Z' || text[state + 2] == 'X';
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
      side_.name == "drover" ? MoveByDrover() : MoveByKernel(number);
  } catch (const std::exception& failure) {
    error_ = failure.what();
  }
}

void AppMoves::MoveByDrover() {
  demo::Child child({drover_, "move", std::to_string(pid_), "--to",
                     demo::TargetsOf(pid_, 1).front(), "--max-stall", side_.max_stall, "--json"});
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
    const uint64_t pages = demo::PagesOnNode(pid_, from);
    const uint64_t old_nodes = uint64_t{1} << from, new_nodes = uint64_t{1} << to;
    const long left = syscall(SYS_migrate_pages, pid_, 64, &old_nodes, &new_nodes);
    if (left < 0) throw demo::Failure("migrate_pages was refused");
    bytes_ += (pages - std::min(pages, static_cast<uint64_t>(left))) * kPageBytes;
    return;
  }
  how_ = "MADV_COLLAPSE";
  kernel::LinuxKernel kernel;
  if (kernel.OpenProcess(pid_) == kernel::Errno::kOk) CollapseAll(kernel);
  kernel.Close();
  nothing_left_ = true;
}

// Of the process's private memory. (Of what is huge already nothing would be copied.)
void AppMoves::CollapseAll(kernel::Kernel& kernel) {
  for (uint64_t at = 0;;) {
    const auto mapping = kernel.NextMapping(at);
    if (!mapping.has_value()) return;
    at = mapping->range.end();
    if (mapping->file || mapping->shared || mapping->special || !mapping->writable) continue;
    for (uint64_t slot = RoundUp(mapping->range.start, kHugeBytes); slot + kHugeBytes <= at;
         slot += kHugeBytes) {
      if (!GoesOn()) return;
      if (!flow::IsAll(kernel, {slot, kHugeBytes}, kernel::kPageHuge) &&
          kernel.Collapse(slot) == kernel::Errno::kOk)
        bytes_ += kHugeBytes;
    }
  }
}

}  // namespace drover::bench
