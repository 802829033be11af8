// bench app: what programs notice of it that their memory moves. A loop that touches random words,
// and a Redis with clients, each in a process of its own with the agent in it, while drover moves
// its memory, the kernel does, or nobody.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "drover/engine.h"
#include "measure.h"
#include "report/table.h"

namespace drover::bench {

struct AppOptions {
  std::vector<std::string> programs = {"loop", "redis-get", "redis-set"};
  std::vector<std::string> max_stalls = {"200us", "2ms", "none"};  // of drover's sides, as for move
  std::vector<std::string> sides = {"none", "drover", "kernel"};   // none: nothing is moved
  size_t total_bytes = size_t{256} << 20;                          // of the program's memory
  int passes = 1;      // over that memory, in each measurement; 0: on and on
  double seconds = 3;  // of each measurement
  int rounds = 7;
  std::string drover;  // this program
};

// Times are what the program sees: of the loop of each access, of Redis of each request by its
// clients.
struct AppRow {
  std::string program, side;
  std::string max_stall;  // of drover's
  std::string how;        // of the kernel's: by which call
  int rounds = 0;
  size_t total_bytes = 0;
  Spread per_s;            // accesses or requests
  bool has_share = false;  // side none was measured beside it
  Spread share;            // of what it does where nothing is moved, per round
  Spread p50_us, p99_us, p999_us;
  Spread gb_moved;  // in a measurement
};

struct AppReport {
  std::vector<AppRow> rows;
  std::vector<report::Skipped> skipped;
};

// The sides alternate, round by round, each time with a program of its own. SIGINT and SIGTERM end
// it, and what it has started.
[[nodiscard]] std::expected<AppReport, Error> RunApp(
    const AppOptions& options, const std::function<void(const std::string&)>& progress);

// The loop itself, in its own process: makes the file `ready` when its memory is there, runs for so
// long, and prints what it has seen, one JSON object. Returns the exit code.
int RunAppLoop(size_t total_bytes, double seconds, const std::string& ready);

}  // namespace drover::bench
