#include "cli/program.h"

#include <fmt/format.h>

#include "cli/grammar.h"

namespace drover::cli {

int RunProgram(int argc, char** argv) {
  CLI::App app;
  Chosen chosen;
  AddGrammar(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "drover: {}; see `drover --help`\n", error.what());
    return kExitUsage;
  }
  return RunOrSay(chosen.run);
}

}  // namespace drover::cli
