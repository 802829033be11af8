#include "cli/grammar.h"

#include <fmt/format.h>

#include "control/protocol.h"

namespace drover::cli {

void AddGrammar(CLI::App& app, Chosen& chosen) {
  app.name("drover");
  app.description("drover moves the pages of live processes between memory nodes.");
  app.set_version_flag("--version", fmt::format("drover {}", control::kBuild));
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 all moved, 1 the job failed, 2 usage, 3 something did not move,\n"
      "4 something named is unavailable, 5 not permitted, 6 the process ended, 130 interrupted.\n"
      "`drover COMMAND --help` explains a command.");
  AddDoctor(app, chosen);
  AddRun(app, chosen);
  AddPs(app, chosen);
  AddTopo(app, chosen);
  AddPages(app, chosen);
  AddMove(app, chosen);
  AddExchange(app, chosen);
  AddJobs(app, chosen);
  AddOff(app, chosen);
  AddMigrators(app, chosen);
  AddTune(app, chosen);
  AddBench(app, chosen);
}

}  // namespace drover::cli
