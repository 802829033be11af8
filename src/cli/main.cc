#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <thread>

#include "cli/command.h"
#include "control/protocol.h"
#include "topology/nodes.h"

namespace drover::cli {

int Fail(const Error& error) {
  fmt::print(stderr, "drover: {}\n", error.message);
  return ExitCodeOf(error.kind);
}

nlohmann::json JsonHead(const std::string& command) {
  utsname name{};
  uname(&name);
  return {{"schema_version", 1},
          {"context",
           {{"command", command},
            {"drover", control::kBuild},
            {"kernel", name.release},
            {"machine", name.machine},
            {"cpus", std::thread::hardware_concurrency()},
            {"nodes_with_memory", topology::ReadNodes("/").MemoryList()},
            {"user", geteuid()}}}};
}

void PrintJson(const nlohmann::json& document) {
  fmt::print("{}\n", document.dump(2));
}

}  // namespace drover::cli

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
