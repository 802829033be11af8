#include "cli/command.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <thread>

#include "control/protocol.h"
#include "topology/nodes.h"

namespace drover::cli {

int RunOrSay(const std::function<int()>& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return Fail({Error::Kind::kFailed, error.what()});
  }
}

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
