#include "library/migrator_suite.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "kernel/types.h"
#include "library/await_release.h"

namespace drover::library {
namespace {

using migrators::Answer;
using migrators::Folio;
using migrators::Migrator;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr uint64_t kRoomBytes = 64 << 20;  // of the sources; the targets have as much
constexpr auto kPatience = 10s;

uint64_t NowNs() {
  return static_cast<uint64_t>(Clock::now().time_since_epoch() / 1ns);
}

// Memory whose every word tells where it belongs and in which round it was written.
class Room {
 public:
  Room() {
    void* const at = mmap(nullptr, 2 * kRoomBytes + kHugeBytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mapped_ = at == MAP_FAILED ? 0 : reinterpret_cast<uint64_t>(at);
    source_ = RoundUp(mapped_, kHugeBytes);
    target_ = source_ + kRoomBytes;
  }
  ~Room() {
    if (mapped_ != 0) munmap(reinterpret_cast<void*>(mapped_), 2 * kRoomBytes + kHugeBytes);
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  bool ok() const { return mapped_ != 0; }
  uint64_t source() const { return source_; }
  uint64_t target() const { return target_; }

  static uint64_t Mix(uint64_t address, uint64_t round) {
    uint64_t word = address ^ round << 48;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
  }
  static void Fill(uint64_t start, uint64_t length, uint64_t round) {
    for (uint64_t at = start; at < start + length; at += 8)
      *reinterpret_cast<uint64_t*>(at) = Mix(at, round);
  }
  // The first word that is not what Fill wrote from `origin` on; 0: there is none.
  static uint64_t FirstWrong(uint64_t start, uint64_t length, uint64_t origin, uint64_t round) {
    for (uint64_t i = 0; i < length; i += 8)
      if (*reinterpret_cast<const uint64_t*>(start + i) != Mix(origin + i, round)) return start + i;
    return 0;
  }

 private:
  uint64_t mapped_ = 0, source_ = 0, target_ = 0;
};

class Suite {
 public:
  Suite(Migrator& migrator, const SuiteOptions& options) : migrator_(migrator), options_(options) {}
  std::vector<Verdict> Run();

 private:
  // The folios of a batch: `count` of `length_bytes`, a page apart, in the order that the seed
  // gives.
  std::vector<Folio> Lay(uint64_t count, uint64_t length_bytes, bool shuffled) const;
  // Hands a batch in, waits for it, and looks at every word. Empty: all was right.
  std::string Copy(std::vector<Folio>& folios);
  std::string Look(const std::vector<Folio>& folios) const;
  Answer Offer(std::vector<Folio>& folios);
  bool IsTaken(std::vector<Folio>& folios) { return Offer(folios) == Answer::kTaken; }
  std::string WaitFor();
  std::string LetGo();

  std::string OfEverySize();
  std::string InAnyOrder();
  std::string LeavesAllElse();
  std::string OneBatchAtATime();
  std::string NothingAfterTheAnswer();
  std::string ManyBatches();
  std::string OfOtherLengths();
  std::string BesideBusyThreads();
  std::string ReturnsAtTheDeadline();
  std::string RefusesWhatIsEmpty();

  Migrator& migrator_;
  const SuiteOptions options_;
  Room room_;
  uint64_t round_ = 0;
  uint64_t refused_ = 0, unmarked_ = 0, copied_ = 0, unsupported_ = 0;
  std::mt19937_64 random_{1};
};

std::vector<Folio> Suite::Lay(uint64_t count, uint64_t length_bytes, bool shuffled) const {
  // A gap behind each, that nobody may touch; huge folios stand at their own size.
  const uint64_t stride = length_bytes == kHugeBytes ? length_bytes : length_bytes + kPageBytes;
  const uint64_t fits = kRoomBytes / stride;
  std::vector<uint64_t> from(fits), to(fits);
  std::iota(from.begin(), from.end(), 0);
  std::iota(to.begin(), to.end(), 0);
  if (shuffled) {
    std::mt19937_64 random(count);
    std::shuffle(from.begin(), from.end(), random);
    std::shuffle(to.begin(), to.end(), random);
  }
  std::vector<Folio> folios;
  for (uint64_t i = 0; i < std::min(count, fits); ++i)
    folios.push_back(
        {room_.source() + from[i] * stride, room_.target() + to[i] * stride, length_bytes, false});
  return folios;
}

// An engine may have to wait for its threads, which on a busy machine get no CPU for long; not for
// ever.
Answer Suite::Offer(std::vector<Folio>& folios) {
  for (const auto end = Clock::now() + kPatience;;) {
    const Answer answer = migrator_.Submit(folios);
    if (answer == Answer::kTaken || answer == Answer::kUnsupported || Clock::now() > end)
      return answer;
    ++refused_;
    std::this_thread::sleep_for(100us);
  }
}

// Behind it the list may go and the memory may get other content.
std::string Suite::LetGo() {
  return AwaitRelease(migrator_, kPatience) ? "" : "addresses are held for seconds";
}

std::string Suite::WaitFor() {
  const auto end = Clock::now() + kPatience;
  while (!migrator_.Poll(NowNs() + 10'000'000))
    if (Clock::now() > end) return "no answer within ten seconds";
  return LetGo();
}

std::string Suite::Look(const std::vector<Folio>& folios) const {
  for (const Folio& folio : folios) {
    if (Room::FirstWrong(folio.source, folio.length_bytes, folio.source, round_) != 0)
      return "a source was written to";
    if (!folio.copied || !options_.copies) continue;
    if (const uint64_t wrong =
            Room::FirstWrong(folio.target, folio.length_bytes, folio.source, round_);
        wrong != 0)
      return fmt::format("a folio of {} bytes is marked and not copied from byte {} on",
                         folio.length_bytes, wrong - folio.target);
  }
  return {};
}

std::string Suite::Copy(std::vector<Folio>& folios) {
  ++round_;
  for (const Folio& folio : folios) {
    Room::Fill(folio.source, folio.length_bytes, round_);
    Room::Fill(folio.target, folio.length_bytes, ~round_);
  }
  const Answer answer = Offer(folios);
  const bool plain = folios.size() == 1 && folios[0].length_bytes == kPageBytes;
  if (answer == Answer::kUnsupported && !plain) {
    ++unsupported_;
    return {};
  }
  if (answer != Answer::kTaken)
    return fmt::format("a batch of {} folios was never taken", folios.size());
  if (std::string wrong = WaitFor(); !wrong.empty()) return wrong;
  for (const Folio& folio : folios) ++(folio.copied ? copied_ : unmarked_);
  return Look(folios);
}

std::string Suite::OfEverySize() {
  for (const uint64_t count : {1, 2, 3, 7, 64, 511, 512, 513, 1024, 2047, 4096, 8191, 8192}) {
    if (count > options_.folios_max) continue;
    std::vector<Folio> folios = Lay(count, kPageBytes, false);
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  }
  for (const uint64_t count : {1, 2, 3, 8}) {
    std::vector<Folio> folios = Lay(count, kHugeBytes, false);
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  }
  return {};
}

std::string Suite::InAnyOrder() {
  for (const uint64_t count : {5, 512, 2048}) {
    std::vector<Folio> folios = Lay(count, kPageBytes, true);
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  }
  std::vector<Folio> folios = Lay(7, kHugeBytes, true);
  return Copy(folios);
}

std::string Suite::LeavesAllElse() {
  std::vector<Folio> folios = Lay(512, kPageBytes, true);
  const uint64_t gaps_round = ++round_;
  Room::Fill(room_.target(), kRoomBytes, gaps_round);
  if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  for (const Folio& folio : folios) {
    const uint64_t gap = folio.target + kPageBytes;
    if (Room::FirstWrong(gap, kPageBytes, gap, gaps_round) != 0)
      return "memory behind a target was written to";
  }
  return {};
}

std::string Suite::OneBatchAtATime() {
  std::vector<Folio> folios = Lay(64, kPageBytes, false), more = Lay(64, kPageBytes, false);
  ++round_;
  for (const Folio& folio : folios) Room::Fill(folio.source, folio.length_bytes, round_);
  if (!IsTaken(folios)) return "an idle engine takes no batch";
  if (migrator_.Submit(more) == Answer::kTaken)
    return "a second batch is taken before Poll has answered";
  if (std::string wrong = WaitFor(); !wrong.empty()) return wrong;
  return Look(folios);
}

// Neither does it copy twice: what the targets get afterwards they keep.
std::string Suite::NothingAfterTheAnswer() {
  std::vector<Folio> folios = Lay(2048, kPageBytes, false);
  for (int i = 0; i < 4; ++i) {
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
    const uint64_t after = ++round_;
    for (const Folio& folio : folios) Room::Fill(folio.target, folio.length_bytes, after);
    std::this_thread::sleep_for(20ms);
    for (const Folio& folio : folios)
      if (Room::FirstWrong(folio.target, folio.length_bytes, folio.target, after) != 0)
        return "a target was written to after the answer";
  }
  return {};
}

std::string Suite::ManyBatches() {
  for (int i = 0; i < 500; ++i) {
    std::vector<Folio> folios = Lay(1 + random_() % 96, kPageBytes, i % 2 == 0);
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  }
  return {};
}

std::string Suite::OfOtherLengths() {
  for (const uint64_t pages : {3, 5, 16, 511}) {
    std::vector<Folio> folios = Lay(9, pages * kPageBytes, true);
    if (std::string wrong = Copy(folios); !wrong.empty()) return wrong;
  }
  return {};
}

// One for each CPU, so that helpers do not get theirs.
std::string Suite::BesideBusyThreads() {
  std::atomic<bool> stop = false;
  std::vector<std::thread> busy;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    busy.emplace_back([&stop] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  std::string wrong;
  for (int i = 0; i < 20 && wrong.empty(); ++i) {
    std::vector<Folio> folios = Lay(1 + random_() % 96, kPageBytes, i % 2 == 0);
    wrong = Copy(folios);
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  return wrong;
}

// (One that works on the caller's thread is done when it returns.)
std::string Suite::ReturnsAtTheDeadline() {
  std::vector<Folio> folios = Lay(8, kHugeBytes, false);
  if (!IsTaken(folios)) return "an idle engine takes no batch";
  const auto begin = Clock::now();
  const bool done = migrator_.Poll(0);
  if (Clock::now() - begin > 5s) return "a deadline that is over was waited out";
  return done ? LetGo() : WaitFor();
}

std::string Suite::RefusesWhatIsEmpty() {
  if (migrator_.Submit({}) != Answer::kTaken) return {};
  return "a batch without folios is taken";
}

std::vector<Verdict> Suite::Run() {
  if (!room_.ok()) return {{"memory", false, "no memory to test on"}};
  const std::pair<const char*, std::string (Suite::*)()> tests[] = {
      {"copies batches of every size", &Suite::OfEverySize},
      {"copies folios in any order", &Suite::InAnyOrder},
      {"copies folios of other lengths", &Suite::OfOtherLengths},
      {"leaves all else as it is", &Suite::LeavesAllElse},
      {"takes one batch at a time", &Suite::OneBatchAtATime},
      {"writes nothing after its answer", &Suite::NothingAfterTheAnswer},
      {"copies 500 batches, one after another", &Suite::ManyBatches},
      {"copies beside busy threads", &Suite::BesideBusyThreads},
      {"returns at the deadline", &Suite::ReturnsAtTheDeadline},
      {"refuses a batch without folios", &Suite::RefusesWhatIsEmpty},
  };
  std::vector<Verdict> verdicts;
  for (const auto& [name, test] : tests) {
    refused_ = unmarked_ = copied_ = unsupported_ = 0;
    const std::string wrong = (this->*test)();
    verdicts.push_back(
        {name, wrong.empty(),
         !wrong.empty()
             ? wrong
             : fmt::format(
                   "{} folios copied, {} left, {} batches refused{}", copied_, unmarked_, refused_,
                   unsupported_ == 0 ? "" : fmt::format(", {} unsupported", unsupported_))});
    if (!wrong.empty()) break;  // it may still have folios that are gone by now
  }
  return verdicts;
}

}  // namespace

std::vector<Verdict> TestMigrator(Migrator& migrator, const SuiteOptions& options) {
  return Suite(migrator, options).Run();
}

}  // namespace drover::library
