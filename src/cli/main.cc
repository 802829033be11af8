#include <fmt/format.h>

#include "cli/command.h"
#include "control/protocol.h"

int main(int argc, char** argv) {
  using namespace drover::cli;
  CLI::App app("drover moves the pages of live processes between memory nodes.", "drover");
  app.set_version_flag("--version", fmt::format("drover {}", drover::control::kBuild));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 all moved, 1 the job failed, 2 usage, 3 something did not move,\n"
      "4 something named is unavailable, 5 not permitted, 6 the process ended, 130 interrupted.\n"
      "`drover COMMAND --help` explains a command.");
  Chosen chosen;
  AddDoctor(app, chosen);
  AddRun(app, chosen);
  AddPs(app, chosen);
  AddTopo(app, chosen);
  AddPages(app, chosen);
  AddMove(app, chosen);
  AddOff(app, chosen);
  AddBench(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "drover: {}; see `drover --help`\n", error.what());
    return kExitUsage;
  }
  try {
    return chosen.run();
  } catch (const std::exception& error) {  // of a library: no memory, most likely
    fmt::print(stderr, "drover: {}\n", error.what());
    return kExitFailed;
  }
}
