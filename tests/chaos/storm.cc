// The program that is moved: drover_storm --tally FILE --seed N [--threads N] [--only NAMES]
// [--fail-one-in N] [--quiet yes] [--end HOW]
//
// Until SIGTERM its threads do what a program may do, each with memory of its own. Exit code 0:
// every page read as it must. With --fail-one-in of so many kernel calls of drover's one fails.
// With
// --end it ends so, in a window, on SIGUSR1.
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "chaos/ends.h"
#include "chaos/thread.h"

using namespace drover::chaos;

namespace {

std::atomic<uint64_t> ticks = 0;

// A profiler's timer, all the time.
void StartProfiling() {
  struct sigaction action = {};
  action.sa_handler = [](int) { ticks.fetch_add(1, std::memory_order_relaxed); };
  action.sa_flags = SA_RESTART;
  sigaction(SIGPROF, &action, nullptr);
  const itimerval often = {{0, 5000}, {0, 5000}};
  setitimer(ITIMER_PROF, &often, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  std::string path, end, only;
  uint64_t seed = 1, threads = 2, fail_one_in = 0;
  bool injects = false, quiet = false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string word = argv[i];
    if (word == "--tally") path = argv[i + 1];
    if (word == "--seed") seed = std::strtoull(argv[i + 1], nullptr, 10);
    if (word == "--threads") threads = std::strtoull(argv[i + 1], nullptr, 10);
    if (word == "--end") end = argv[i + 1];
    if (word == "--only") only = argv[i + 1];
    if (word == "--quiet") quiet = true;
    if (word == "--fail-one-in") injects = true;
    if (word == "--fail-one-in") fail_one_in = std::strtoull(argv[i + 1], nullptr, 10);
  }
  Tally* tally = MapTally(path);
  const std::vector<uint64_t> chosen = ChosenOf(only);
  if (tally == nullptr || chosen.empty()) return 2;
  if (injects) {
    if (!StartInjector(tally->injection, seed)) return 3;
    tally->injection.one_in = fail_one_in;
  }
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGUSR1);
  sigprocmask(SIG_BLOCK, &awaited, nullptr);
  std::vector<std::unique_ptr<StormThread>> storm;
  for (uint64_t i = 0; i < threads; ++i)
    storm.push_back(std::make_unique<StormThread>(i, seed, chosen, *tally));
  int signal = 0;
  if (!end.empty()) {
    tally->ready = 1;
    sigwait(&awaited, &signal);
    return EndSo(end, *storm[0], *tally);
  }
  if (!quiet) StartProfiling();
  std::atomic<bool> stop = quiet;
  std::vector<std::thread> running;
  for (auto& thread : storm) running.emplace_back([&] { thread->Run(stop); });
  tally->ready = 1;
  while (sigwait(&awaited, &signal) != 0 || signal != SIGTERM) {
  }
  stop = true;
  for (auto& thread : running) thread.join();
  bool right = tally->wrong == 0;
  for (auto& thread : storm) right = thread->IsAllRight() && right;
  return right ? 0 : 1;
}
