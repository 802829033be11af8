// drover_chaos [--seconds N] [--seed N] [--threads N] [--only NAMES] [--parts NAMES] [--busy]:
// moves a program's memory without pause while it does everything that a program may do, and says
// how often that met an open window. Exit code 0: not one page was ever wrong, and every operation
// has met windows often enough.
#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "chaos/core_file.h"
#include "chaos/ends.h"
#include "chaos/memory_limit.h"
#include "chaos/moves.h"
#include "chaos/storm_process.h"
#include "chaos/verdict.h"

namespace drover::chaos {
namespace {

struct Options {
  uint64_t seconds = 60, seed = 0, threads = 2;
  std::string only;
  std::vector<std::string> parts = {"storm", "failures", "limit", "ends"};
  bool busy = false;
};

std::atomic<bool> interrupted = false;

// For so many seconds, or until it ends, or a page is wrong, or Ctrl-C. `each_tick` is called fifty
// times a second. Returns its exit code.
template <class Tick>
int RunFor(uint64_t seconds, Storm& storm, Moves& moves, const Tick& each_tick) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end && !storm.HasEnded() && storm.tally().wrong == 0 &&
         !interrupted) {
    usleep(20'000);
    each_tick();
  }
  moves.Stop();
  storm.Signal(SIGTERM);
  return storm.Await();
}

std::vector<std::string> StormOptions(const Options& options, uint64_t seed,
                                      const std::string& only) {
  return {"--seed", std::to_string(seed), "--threads", std::to_string(options.threads), "--only",
          only};
}

void RunStorm(const Options& options, const Folder& folder, Verdict& verdict) {
  Storm storm(folder, "storm", StormOptions(options, options.seed, options.only));
  if (!storm.IsReady()) return verdict.Fail("the storm did not start");
  Moves moves(storm.pid(), options.seed, options.threads, Built("drover"));
  const int code = RunFor(options.seconds, storm, moves, [] {});
  verdict.Judge("the storm", storm.tally(), code, moves.Stop());
  // In less than a minute chance has more to say: each must have met some.
  const uint64_t needed = options.seconds >= 60 ? kWindowsNeeded : options.seconds / 12;
  verdict.ShowOperations(storm.tally(), ChosenOf(options.only), interrupted ? 0 : needed);
}

// A fourth of the time, while one in fifty of drover's kernel calls fails.
void RunWithFailures(const Options& options, const Folder& folder, Verdict& verdict) {
  auto words = StormOptions(options, options.seed + 1, options.only);
  words.insert(words.end(), {"--fail-one-in", "50"});
  Storm storm(folder, "failures", words);
  if (!storm.IsReady()) return verdict.Fail("the storm with failing calls did not start");
  Moves moves(storm.pid(), options.seed + 1, options.threads, Built("drover"));
  const int code = RunFor(std::max<uint64_t>(options.seconds / 4, 2), storm, moves, [] {});
  verdict.Judge("while calls fail", storm.tally(), code, moves.Stop());
  const Injection& injection = storm.tally().injection;
  fmt::print("while calls fail     {:>10} calls {:>10} failed\n", injection.calls.load(),
             injection.injected.load());
  if (injection.injected < 20 && !interrupted)
    verdict.Fail("not exercised: fewer than 20 kernel calls have failed");
}

// An eighth of the time, in a control group whose memory runs out again and again.
void RunAtLimit(const Options& options, const Folder& folder, Verdict& verdict) {
  const MemoryLimit limit;
  if (!limit.good()) {
    fmt::print("at the memory limit  untested on this machine: no memory controller\n");
    return;
  }
  // Those that no refused allocation can fail.
  constexpr const char* kOnly = "read,write,discard,free,give-and-take,cold,map-over,proc-mem";
  Storm storm(folder, "limit", StormOptions(options, options.seed + 2, kOnly), limit.tasks());
  if (!storm.IsReady()) return verdict.Fail("the storm at the memory limit did not start");
  Moves moves(storm.pid(), options.seed + 2, options.threads, Built("drover"));
  uint64_t tick = 0, tightened = 0;
  const int code =
      RunFor(std::max<uint64_t>(options.seconds / 8, 2), storm, moves, [&limit, &tick, &tightened] {
        if (++tick % 4 == 0) tightened += limit.Tighten(256 << 10) ? 1 : 0;
        if (tick % 4 == 2) limit.Loosen();
      });
  limit.Loosen();
  verdict.Judge("at the memory limit", storm.tally(), code, moves.Stop());
  fmt::print("at the memory limit  {:>10} times {:>10} refused or held up\n", tightened,
             limit.times_met());
  if (limit.times_met() < 5 && !interrupted)
    verdict.Fail("not exercised: the memory limit was met fewer than 5 times");
}

// Whoever asks while a job runs is refused; this asks until none does.
bool TakeOut(const Storm& storm, uint64_t* refused) {
  const std::string words = fmt::format("{} off {} >/dev/null 2>&1", Built("drover"), storm.pid());
  constexpr int kTries = 500;
  for (int i = 0; i < kTries; ++i) {
    const int status = std::system(words.c_str());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    ++*refused;
  }
  return false;
}

struct EndTally {
  uint64_t inside = 0, refused = 0, stood_back = 0;
  CorePages core;
};

// One program that ends so while it is moved.
void RunEnd(const std::string& how, uint64_t round, const Options& options, const Folder& folder,
            EndTally& tally, Verdict& verdict) {
  const uint64_t seed = options.seed + round;
  Storm storm(folder, how + std::to_string(round),
              {"--seed", std::to_string(seed), "--threads", "1", "--end", how});
  Moves moves(storm.pid(), seed, 1, Built("drover"));
  usleep(20'000);
  storm.Signal(SIGUSR1);
  const std::string where = fmt::format("{}, round {}", how, round);
  if (how == "off") {  // from its first window on
    for (int i = 0; i < 500 && storm.tally().operations[0].inside == 0; ++i) usleep(10'000);
    if (!TakeOut(storm, &tally.refused)) verdict.Fail(where + ": the agent could not be taken out");
    storm.Signal(SIGTERM);
  }
  const int code = storm.Await();
  const MovesTally& moved = moves.Stop();
  verdict.AddMoves(moved);
  tally.inside += storm.tally().operations[0].inside;
  tally.stood_back += moved.not_by_own_path;
  if (code != ExpectedOf(how))
    verdict.Fail(
        fmt::format("{}: the program ended with {}, not {}", where, code, ExpectedOf(how)));
  if (storm.tally().wrong > 0) verdict.Fail(where + ": " + storm.tally().first_wrong);
  if (how != "abort") return;
  const auto pages = ReadCore(storm.work(), seed);
  if (!pages.has_value()) return;
  tally.core.right += pages->right;
  tally.core.lacking += pages->lacking;
  if (pages->right + pages->lacking == 0) verdict.Fail(where + ": a core without the slice");
  if (pages->wrong > 0) verdict.Fail(where + ": the core has pages of other content");
}

// Each end in programs of its own.
void RunEnds(const Options& options, const Folder& folder, Verdict& verdict) {
  const bool full = options.seconds >= 60;
  const uint64_t rounds = full ? 8 : 3, needed = full ? 5 : 1;
  for (const std::string how : kEnds) {
    EndTally tally;
    for (uint64_t round = 0; round < rounds && !interrupted; ++round)
      RunEnd(how, round, options, folder, tally, verdict);
    fmt::print("{:<20} {:>10} {:>10}", how, rounds, tally.inside);
    if (how == "abort")
      fmt::print("  cores: {} pages right, {} away and lacking", tally.core.right,
                 tally.core.lacking);
    if (how == "off") fmt::print("  {} refused while a job ran", tally.refused);
    if (how == "robust") fmt::print("  {} jobs stood back", tally.stood_back);
    fmt::print("\n");
    if (tally.inside < needed && !interrupted)
      verdict.Fail(
          fmt::format("not exercised: {} has met {} windows, not {}", how, tally.inside, needed));
    if (how == "robust" && tally.stood_back == 0 && !interrupted)
      verdict.Fail("robust: no job has stood back from the mutexes");
  }
}

int Run(Options options) {
  if (options.seed == 0) options.seed = std::random_device()();
  setvbuf(stdout, nullptr, _IOLBF, 0);
  fmt::print("chaos: seed {}\n", options.seed);
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const Folder folder;
  if (folder.path().empty()) {
    fmt::print(stderr, "chaos: no folder can be made in /tmp; make room there\n");
    return 1;
  }
  const BusyCpus busy(options.busy);
  Verdict verdict;
  struct Part {
    const char* name;
    void (*run)(const Options&, const Folder&, Verdict&);
  };
  constexpr Part kParts[] = {
      {"storm", RunStorm}, {"failures", RunWithFailures}, {"limit", RunAtLimit}, {"ends", RunEnds}};
  for (const Part& part : kParts) {
    const bool wanted =
        std::find(options.parts.begin(), options.parts.end(), part.name) != options.parts.end();
    if (wanted && verdict.passed() && !interrupted) part.run(options, folder, verdict);
  }
  if (interrupted) {
    fmt::print("chaos: interrupted, seed {}\n", options.seed);
    return 130;
  }
  fmt::print("chaos: seed {}, {} s{}: {}\n", options.seed, options.seconds,
             options.busy ? ", busy" : "", verdict.Text());
  return verdict.passed() ? 0 : 1;
}

}  // namespace
}  // namespace drover::chaos

int main(int argc, char** argv) {
  CLI::App app("moves a program's memory without pause while it does all that a program may do");
  drover::chaos::Options options;
  app.add_option(
         "--seconds", options.seconds,
         "of the storm; a fourth of it more while kernel calls fail, an eighth at the memory "
         "limit, and the programs that end")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of all that is drawn; 0: a fresh one")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "of the program")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--only", options.only, "these operations and no others, separated by commas")
      ->check([](const std::string& names) {
        if (!drover::chaos::ChosenOf(names).empty()) return std::string();
        std::string all;
        for (const auto& each : drover::chaos::Operations()) all += std::string(" ") + each.name;
        return "an unknown operation; there are" + all;
      });
  app.add_option("--parts", options.parts, "which of the four, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember(options.parts))
      ->capture_default_str();
  app.add_flag("--busy", options.busy, "keep every CPU busy with something else");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return drover::chaos::Run(options);
}
