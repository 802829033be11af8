#include "demo.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "child.h"
#include "churn.h"
#include "failure.h"
#include "load.h"
#include "redis_server.h"
#include "temporary_folder.h"
#include "waiting.h"

namespace drover::demo {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

template <class... Arguments>
void Say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  fmt::print(stderr, "demo: {}\n", fmt::format(text, std::forward<Arguments>(arguments)...));
}

std::string FindRedis(const std::string& name) {
  const std::string found = FindInPath(name);
  if (found.empty())
    throw Failure(name + " is not in PATH; install it: `apt-get install redis-server redis-tools`",
                  kExitUnavailable);
  return found;
}

uint64_t AvailableMiB() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;)
    if (uint64_t kib; word == "MemAvailable:" && file >> kib) return kib / 1024;
  return 0;
}

// One run of the demo; each function is a step of it, in this order.
class Run {
 public:
  Run(const Options& options, const Programs& programs, const TemporaryFolder& folder)
      : options_(options),
        programs_(programs),
        redis_(programs.drover, programs.redis_server, folder.path()),
        benchmark_(programs.redis_benchmark, redis_.socket_path(), KeysFor(options.mib * kMiB)) {
    outcome_.redis_version = redis_.Info("server")["redis_version"];
    outcome_.keys = KeysFor(options.mib * kMiB);
    outcome_.seed = options.seed;
  }

  Outcome Perform() {
    try {
      Load();
      MoveUnderLoad();
      LookAgain();
    } catch (const Failure&) {
      ThrowIfInterrupted();
      // Its connections close a moment before it has ended.
      for (const auto begin = Clock::now(); redis_.Running() && SecondsSince(begin) < 1;)
        Sleep(Seconds(0.05));
      if (!redis_.Running()) Say("Redis ended; its last words:\n{}", redis_.LastWords());
      throw;
    }
    return outcome_;
  }

 private:
  void Load();
  void MoveUnderLoad();
  Throughput MoveInRounds();
  void LookAgain();
  void CountError(const std::string& message);

  const Options options_;
  const Programs programs_;
  RedisServer redis_;
  Benchmark benchmark_;
  Outcome outcome_;
};

void Run::Load() {
  Say("loading {} MiB of random values into Redis, process {} (seed {})", options_.mib,
      redis_.pid(), options_.seed);
  LoadDatabase(redis_.connection(), outcome_.keys, options_.seed);
  Say("taking the digest of the data");
  outcome_.digest_before = redis_.Digest();
}

// The second database is written and flushed in all three phases, so that they differ in the moves
// alone.
void Run::MoveUnderLoad() {
  Churn churn(redis_.socket_path(), options_.seed + 1);
  try {
    benchmark_.Calibrate();
    Say("measuring Redis before the moves");
    outcome_.before = benchmark_.MeasureFor(options_.duration_s);
    outcome_.during = MoveInRounds();
    Say("measuring Redis after the moves");
    outcome_.after = benchmark_.MeasureFor(options_.duration_s);
  } catch (const Failure&) {
    churn.Stop();
    if (!churn.error().empty()) Say("the connection to database 1: {}", churn.error());
    throw;
  }
  churn.Stop();
  ThrowIfInterrupted();
  outcome_.churn_cycles = churn.cycles();
  if (!churn.error().empty()) CountError(churn.error());
}

Throughput Run::MoveInRounds() {
  const auto targets = TargetsOf(redis_.pid(), options_.rounds);
  BenchmarkBeside beside(benchmark_);
  for (const std::string& to : targets) {
    Say("moving all its memory to {}, round {} of {}",
        to == "same" ? "fresh pages of the same node" : "node " + to, outcome_.rounds.size() + 1,
        targets.size());
    outcome_.rounds.push_back(RunRound(programs_.drover, redis_.pid(), to, options_.migrator));
  }
  return beside.Stop();
}

void Run::LookAgain() {
  Say("taking the digest again");
  // Also where the connection that wrote database 1 broke, the digest is about database 0.
  auto& redis = redis_.connection();
  redis.Ask({"SELECT", "1"});
  redis.Ask({"FLUSHDB", "SYNC"});
  redis.Ask({"SELECT", "0"});
  outcome_.digest_after = redis_.Digest();
  auto stats = redis_.Info("stats");
  const double hits = std::strtod(stats["keyspace_hits"].c_str(), nullptr);
  const double misses = std::strtod(stats["keyspace_misses"].c_str(), nullptr);
  outcome_.hit_share = hits + misses > 0 ? hits / (hits + misses) : 0;
  // Error replies that went to any client; it does not matter which of them noticed.
  if (const uint64_t replies = redis_.CountErrorReplies(); replies > 0) {
    CountError("Redis answered with errors");
    outcome_.client_errors += replies - 1;
  }
  outcome_.never_restarted = redis_.NeverRestarted();
}

void Run::CountError(const std::string& message) {
  if (outcome_.client_errors++ == 0) outcome_.first_error = message;
}

}  // namespace

Programs FindPrograms() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto drover = self.parent_path() / "drover";
  if (access(drover.c_str(), X_OK) != 0)
    throw Failure(drover.string() + " is missing; run `./dev build`", kExitUnavailable);
  return {drover, FindRedis("redis-server"), FindRedis("redis-benchmark")};
}

void CheckMachine(const Options& options) {
  if (geteuid() != 0)
    throw Failure(
        "the demo reads page frames and moves the memory of another process; run it as root",
        kExitNotPermitted);
  // Redis' own overhead is some 20 %.
  const uint64_t needed_mib = options.mib * 3 / 2 + 256;
  if (AvailableMiB() < needed_mib)
    throw Failure(fmt::format("{} MiB of memory are free, {} are needed; choose fewer by --mib",
                              AvailableMiB(), needed_mib),
                  kExitUnavailable);
}

Outcome RunDemo(const Options& options, const Programs& programs) {
  const TemporaryFolder folder;
  // The agent's socket lies there as well, so that it goes also when Redis is killed.
  setenv("DROVER_DIR", folder.path().c_str(), 1);
  return Run(options, programs, folder).Perform();
}

}  // namespace drover::demo
