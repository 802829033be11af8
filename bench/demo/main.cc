// drover-demo: moves the memory of a loaded Redis, three times, and shows that nothing is lost.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <random>

#include "demo.h"
#include "failure.h"
#include "waiting.h"

namespace drover::demo {
namespace {

int Demo(const Options& options, bool json) {
  InstallInterruptHandlers();
  CheckMachine(options);
  const Outcome outcome = RunDemo(options, FindPrograms());
  if (json)
    fmt::print("{}\n", ToJson(outcome).dump(2));
  else
    fmt::print("{}", ToTable(outcome));
  const std::string reason = outcome.ReasonOfFailure();
  if (reason.empty()) return kExitPassed;
  fmt::print(stderr, "demo: {}\n", reason);
  return kExitFailed;
}

}  // namespace
}  // namespace drover::demo

int main(int argc, char** argv) {
  using namespace drover::demo;
  Options options;
  options.seed = std::random_device{}();
  bool json = false;
  CLI::App app("drover-demo moves the memory of a Redis under load and shows that nothing is lost.",
               "drover-demo");
  app.add_option("--rounds", options.rounds, "moves of the whole process")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--mib", options.mib, "MiB of random values to load")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--duration-s", options.duration_s,
                 "seconds of measuring Redis before the moves, and after")
      ->check(CLI::Range(1.0, 3600.0))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of the random values; without it: another one each time");
  app.add_option("--migrator", options.migrator, "copy engines, as for drover move")
      ->capture_default_str();
  app.add_flag("--json", json, "one JSON document on stdout");
  app.footer(
      "Exit codes: 0 passed, 1 failed, 2 usage, 4 Redis or memory is missing, 5 not root,\n"
      "130 interrupted.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "demo: {}; see `drover-demo --help`\n", error.what());
    return kExitUsage;
  }
  try {
    return Demo(options, json);
  } catch (const Failure& failure) {
    fmt::print(stderr, "demo: {}\n", failure.what());
    return failure.exit_code();
  }
}
