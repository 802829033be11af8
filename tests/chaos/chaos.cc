// drover_chaos [--seconds N] [--seed N] [--threads N] [--busy]: moves a program's memory without
// pause while it does everything that a program may do, and says how often that met an open window.
// Exit code 0: not one page was ever wrong, and every operation has met windows often enough.
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "chaos/ends.h"
#include "chaos/moves.h"
#include "chaos/tally.h"
#include "chaos/thread.h"

namespace drover::chaos {
namespace {

struct Options {
  uint64_t seconds = 60, seed = 0, threads = 2;
  std::string only;
  bool busy = false;
};

std::atomic<bool> interrupted = false;

std::string Built(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

// A folder of this run, gone with it.
class Folder {
 public:
  Folder() {
    char path[] = "/tmp/drover-chaos-run-XXXXXX";
    path_ = mkdtemp(path);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A running storm. Ends with its starter, whatever becomes of that.
class Storm {
 public:
  Storm(const Folder& folder, const std::string& name, std::vector<std::string> options)
      : tally_(MapTally(folder.File(name))) {
    std::vector<std::string> words = {Built("drover"),       "run",     "--",
                                      Built("drover_storm"), "--tally", folder.File(name)};
    words.insert(words.end(), options.begin(), options.end());
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setpgid(0, 0);  // a Ctrl-C is for the starter alone
      if (chdir(folder.path().c_str()) != 0) _exit(126);
      std::vector<char*> arguments;
      for (std::string& word : words) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
    for (int i = 0; i < 3000 && tally_->ready == 0 && !HasEnded(); ++i) usleep(10'000);
  }
  ~Storm() {
    if (!ended_) kill(pid_, SIGKILL), Await();
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  int pid() const { return pid_; }
  Tally& tally() { return *tally_; }
  bool IsReady() const { return tally_->ready != 0; }
  bool HasEnded() {
    int status = 0;
    if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) SetEnd(status);
    return ended_;
  }
  // Its exit code, or 128 + signal; 124: it did not end in a minute.
  int Await() {
    for (int i = 0; i < 6000 && !HasEnded(); ++i) usleep(10'000);
    return ended_ ? code_ : 124;
  }
  void Signal(int signal) const { kill(pid_, signal); }

 private:
  void SetEnd(int status) {
    ended_ = true;
    code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  Tally* tally_;
  int pid_ = -1, code_ = -1;
  bool ended_ = false;
};

// Processes that want every CPU.
class BusyCpus {
 public:
  explicit BusyCpus(bool wanted) {
    for (long i = 0; wanted && i < sysconf(_SC_NPROCESSORS_ONLN); ++i) {
      const int child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (std::atomic<uint64_t> turns = 0;;) turns.fetch_add(1, std::memory_order_relaxed);
      }
      children_.push_back(child);
    }
  }
  ~BusyCpus() {
    for (const int child : children_) kill(child, SIGKILL), waitpid(child, nullptr, 0);
  }
  BusyCpus(const BusyCpus&) = delete;
  BusyCpus& operator=(const BusyCpus&) = delete;

 private:
  std::vector<int> children_;
};

class Verdict {
 public:
  void Fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
  }
  bool passed() const { return why_.empty(); }
  const std::string& why() const { return why_; }

 private:
  std::string why_;
};

void Show(const Tally& tally, const std::vector<uint64_t>& chosen, uint64_t needed,
          Verdict& verdict) {
  fmt::print("{:<20} {:>10} {:>10} {:>10} {:>10}\n", "operation", "done", "in window", "before",
             "after");
  for (size_t i = 0; i < Operations().size(); ++i) {
    const OperationTally& each = tally.operations[i];
    const char* name = Operations()[i].name;
    if (std::find(chosen.begin(), chosen.end(), i) == chosen.end()) continue;
    if (each.done == 0 && each.unable > 0) {
      fmt::print("{:<20} untested on this kernel\n", name);
      continue;
    }
    fmt::print("{:<20} {:>10} {:>10} {:>10} {:>10}\n", name, each.done.load(), each.inside.load(),
               each.before.load(), each.after.load());
    if (each.inside < needed)
      verdict.Fail(fmt::format("not exercised: {} has met {} windows, not {}", name,
                               each.inside.load(), needed));
  }
}

MovesTally RunStorm(const Options& options, const Folder& folder, Verdict& verdict) {
  Storm storm(folder, "storm",
              {"--seed", std::to_string(options.seed), "--threads", std::to_string(options.threads),
               "--only", options.only});
  if (!storm.IsReady()) {
    verdict.Fail("the storm did not start");
    return {};
  }
  Moves moves(storm.pid(), options.seed, options.threads, Built("drover"));
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(options.seconds);
  while (std::chrono::steady_clock::now() < end && !storm.HasEnded() && storm.tally().wrong == 0 &&
         !interrupted)
    usleep(20'000);
  const MovesTally moved = moves.Stop();
  storm.Signal(SIGTERM);
  const int code = storm.Await();
  if (storm.tally().wrong > 0)
    verdict.Fail(fmt::format("wrong: {}", storm.tally().first_wrong));
  else if (code != 0)
    verdict.Fail(fmt::format("the storm ended with {}", code));
  if (moved.ledgers_wrong > 0) verdict.Fail("a ledger does not add up");
  if (!moved.failed.empty()) verdict.Fail("a job failed: " + moved.failed);
  if (moved.pages_moved == 0) verdict.Fail("nothing was moved");
  Show(storm.tally(), ChosenOf(options.only),
       interrupted ? 0 : 20 * std::min<uint64_t>(options.seconds, 60) / 60, verdict);
  fmt::print("{} pages looked at\n", storm.tally().pages_checked.load());
  return moved;
}

// Each end in programs of its own.
void RunEnds(const Options& options, const Folder& folder, Verdict& verdict) {
  const uint64_t rounds = options.seconds >= 60 ? 8 : 3, needed = options.seconds >= 60 ? 5 : 1;
  for (const std::string how : kEnds) {
    uint64_t inside = 0;
    for (uint64_t round = 0; round < rounds && !interrupted; ++round) {
      Storm storm(folder, how + std::to_string(round),
                  {"--seed", std::to_string(options.seed + round), "--threads", "1", "--end", how});
      Moves moves(storm.pid(), options.seed + round, 1, Built("drover"));
      usleep(20'000);
      storm.Signal(SIGUSR1);
      if (how == "off") {
        const std::string words =
            fmt::format("{} off {} >/dev/null 2>&1", Built("drover"), storm.pid());
        if (std::system(words.c_str()) < 0) verdict.Fail("no shell to be had");
      }
      const int code = storm.Await();
      moves.Stop();
      inside += storm.tally().operations[0].inside;
      if (code != ExpectedOf(how))
        verdict.Fail(fmt::format("{}, round {}: the program ended with {}, not {}", how, round,
                                 code, ExpectedOf(how)));
      if (storm.tally().wrong > 0)
        verdict.Fail(fmt::format("{}, round {}: {}", how, round, storm.tally().first_wrong));
    }
    fmt::print("{:<20} {:>10} {:>10}\n", how, rounds, inside);
    if (inside < needed && !interrupted)
      verdict.Fail(
          fmt::format("not exercised: {} has met {} windows, not {}", how, inside, needed));
  }
}

int Run(Options options) {
  if (options.seed == 0) options.seed = std::random_device()();
  fmt::print("chaos: seed {}\n", options.seed);
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const Folder folder;
  const BusyCpus busy(options.busy);
  Verdict verdict;
  const MovesTally moved = RunStorm(options, folder, verdict);
  if (verdict.passed() && options.only.empty()) RunEnds(options, folder, verdict);
  fmt::print(
      "{} jobs ({} by others' eyes, {} cancelled), {} command lines cut off, {} windows, {} pages "
      "moved, {} moves denied, {} pages put back by the ladder, {} children filled, {} rounds, {} "
      "pages unshared\n",
      moved.jobs, moved.not_by_own_path, moved.cancelled, moved.cut_off, moved.windows,
      moved.pages_moved, moved.moves_denied, moved.ladder_steps, moved.children_filled,
      moved.rounds, moved.unshared);
  if (interrupted) {
    fmt::print("chaos: interrupted, seed {}\n", options.seed);
    return 130;
  }
  fmt::print("chaos: {}, seed {}, {} s\n", verdict.passed() ? "PASSED" : "FAILED: " + verdict.why(),
             options.seed, options.seconds);
  return verdict.passed() ? 0 : 1;
}

}  // namespace
}  // namespace drover::chaos

int main(int argc, char** argv) {
  CLI::App app("moves a program's memory without pause while it does all that a program may do");
  drover::chaos::Options options;
  app.add_option("--seconds", options.seconds, "how long")
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
  app.add_flag("--busy", options.busy, "keep every CPU busy with something else");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return drover::chaos::Run(options);
}
