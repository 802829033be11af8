#include "live/first_move.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

namespace drover::live {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kPresent = 1ull << 63, kFrame = (1ull << 55) - 1;
// Pages are moved in rising order, so the first ones tell.
constexpr uint64_t kPages = 64;

std::string InProc(int pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

}  // namespace

FirstMove::FirstMove(int pid) : pid_(pid) {
  std::ifstream maps(InProc(pid, "smaps"));
  bool is_private = false;
  uint64_t begin = 0, end = 0, resident_kib = 0, most_kib = 0;
  for (std::string line; std::getline(maps, line);) {
    char rights[5] = "";
    // (Lines of words begin with something else than a range.)
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &begin, &end, rights) == 3) {
      is_private = std::string_view(rights) == "rw-p";
    } else if (std::sscanf(line.c_str(), "Rss: %" SCNu64, &resident_kib) == 1 && is_private &&
               resident_kib > most_kib) {
      most_kib = resident_kib;
      begin_ = begin;
      bytes_ = end - begin;
    }
  }
  // (Memory that is aligned leaves pages before it untouched.)
  const std::vector<uint64_t> all = Frames(bytes_ / kPageBytes);
  const auto present =
      std::find_if(all.begin(), all.end(), [](uint64_t entry) { return (entry & kPresent) != 0; });
  begin_ += static_cast<uint64_t>(present - all.begin()) * kPageBytes;
  before_ = Frames(std::min<uint64_t>(kPages, static_cast<uint64_t>(all.end() - present)));
}

std::vector<uint64_t> FirstMove::Frames(uint64_t pages) const {
  std::vector<uint64_t> entries(pages);
  const int file = open(InProc(pid_, "pagemap").c_str(), O_RDONLY | O_CLOEXEC);
  const auto got = pread(file, entries.data(), entries.size() * 8, begin_ / kPageBytes * 8);
  close(file);
  entries.resize(got > 0 ? got / 8 : 0);
  return entries;
}

bool FirstMove::Seen() const {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::minutes(1);
  while (Clock::now() < until) {
    const std::vector<uint64_t> now = Frames(before_.size());
    if (now.size() != before_.size()) return false;  // it has ended
    for (size_t i = 0; i < now.size(); ++i) {
      const bool both = (now[i] & before_[i] & kPresent) != 0;
      if (both && (now[i] & kFrame) != (before_[i] & kFrame)) return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace drover::live
